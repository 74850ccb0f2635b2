import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { formatCursor, parseCursor } from "../src/stream/sse.ts"
import { openStream } from "./frames.ts"
import { planOf, someForm, type TestRun } from "./TestEngine.ts"
import { startServer, type TestServer } from "./server.ts"

let server: TestServer
let cookie: string
beforeAll(async () => {
  server = await startServer()
  cookie = await server.login("acme")
})
afterAll(() => server.close())

const open = (run: TestRun, query = "", headers: Record<string, string> = {}) => openStream(`${server.url}/api/v1/runs/${run.id}/stream${query}`, { cookie, ...headers })
const row = (step: number) => ({ at: step, rank: 0, kind: "step" as const, step, loss: 1, stepId: "train", node: "n" })

describe("the stream of a run", () => {
  it("sends what is there, then what comes, at once, and ends with the run", async () => {
    const { engine } = server
    const run = engine.create("acme", planOf(someForm))
    const stream = await open(run)
    expect(stream.headers.get("content-type")).toContain("text/event-stream")
    expect(stream.headers.get("cache-control")).toBe("no-store")
    await stream.until((frames) => frames.length >= 1)
    expect(stream.frames[0]).toMatchObject({ event: "run", data: { seq: 1, event: { _tag: "RunQueued" } } })
    // Nothing but the stream itself moves this on: each frame arrives before the next event is made.
    engine.append(run, { _tag: "RunStarted", executor: "embedded" })
    await stream.until((frames) => frames.some((f) => f.data.event?._tag === "RunStarted"))
    engine.sample(run, [row(1), row(2)])
    await stream.until((frames) => frames.some((f) => f.event === "sample"))
    engine.log(run, "train", 1, "hello\n")
    await stream.until((frames) => frames.some((f) => f.event === "log"))
    await stream.until((frames) => frames.some((f) => f.event === "ping"))
    engine.log(run, "train", 1, "bye\n")
    engine.sample(run, [row(3)])
    engine.append(run, { _tag: "RunEnded", outcome: "succeeded" })
    await stream.until(() => false)
    expect(stream.ended).toBe(true)
    const of = (event: string) => stream.frames.filter((f) => f.event === event)
    expect(of("run").map((f) => f.data.seq)).toEqual([1, 2, 3])
    expect(of("sample").flatMap((f) => f.data.map((s: any) => s.step))).toEqual([1, 2, 3])
    expect(of("log").map((f) => f.data.text).join("")).toBe("hello\nbye\n")
    expect(stream.frames.at(-1)!.event).toBe("end")
  })

  it("goes on where it was cut, for events, samples and log alike", async () => {
    const { engine } = server
    const run = engine.create("acme", planOf(someForm))
    engine.append(run, { _tag: "RunStarted", executor: "embedded" })
    engine.sample(run, [row(1), row(2)])
    engine.log(run, "train", 1, "one\ntwo\n")
    const first = await open(run)
    await first.until((frames) => frames.some((f) => f.event === "log") && frames.some((f) => f.event === "sample"))
    const id = first.frames.findLast((f) => f.id !== "")!.id
    first.close()
    expect(parseCursor(id)).toEqual({ seq: 2, sample: 2, job: "train~1", offset: 8 })

    engine.append(run, { _tag: "StepStarted", step: "train", attempt: 1 })
    engine.sample(run, [row(3)])
    engine.log(run, "train", 1, "three\n")
    engine.append(run, { _tag: "RunEnded", outcome: "failed" })
    const second = await open(run, "", { "last-event-id": id })
    await second.until(() => false)
    expect(second.frames.filter((f) => f.event === "run").map((f) => f.data.seq)).toEqual([3, 4])
    expect(second.frames.filter((f) => f.event === "sample").flatMap((f) => f.data.map((s: any) => s.step))).toEqual([3])
    expect(second.frames.filter((f) => f.event === "log").map((f) => f.data.text).join("")).toBe("three\n")

    const byQuery = await open(run, "?after=3&include=run")
    await byQuery.until(() => false)
    expect(byQuery.frames.map((f) => [f.event, f.id])).toEqual([["run", "4"], ["end", "4"]])
  })

  it("starts a new attempt's output at its beginning", async () => {
    const { engine } = server
    const run = engine.create("acme", planOf(someForm))
    engine.log(run, "train", 1, "a long first attempt\n")
    const stream = await open(run)
    await stream.until((frames) => frames.some((f) => f.event === "log"))
    engine.log(run, "train", 2, "second\n")
    await stream.until((frames) => frames.some((f) => f.data.attempt === 2))
    expect(stream.frames.filter((f) => f.event === "log").map((f) => [f.data.attempt, f.data.text])).toEqual([[1, "a long first attempt\n"], [2, "second\n"]])
    stream.close()
  })

  it("lets go of the engine when the client leaves", async () => {
    const { engine } = server
    const run = engine.create("acme", planOf(someForm))
    const stream = await open(run)
    await stream.until((frames) => frames.length > 0)
    await waitFor(() => run.listeners.size === 2)
    stream.close()
    await waitFor(() => run.listeners.size === 0)
  })

  it("refuses a run that is not there with an answer, not with a stream", async () => {
    const answer = await fetch(`${server.url}/api/v1/runs/run_none/stream`, { headers: { cookie } })
    expect(answer.status).toBe(404)
    expect(((await answer.json()) as any).error.code).toBe("not_found")
  })

  it("reads any cursor: what does not parse replays from the start", () => {
    for (const id of ["", "x", "-1", "1.2.3", "1.2.train~1", "9".repeat(40), "1.2.../etc~1~2"]) expect(parseCursor(id).seq, id).toBe(0)
    for (const cursor of [{ seq: 5, sample: 0, job: "", offset: 0 }, { seq: 5, sample: 9, job: "", offset: 0 }, { seq: 0, sample: 0, job: "train-2~11", offset: 77 }]) {
      expect(parseCursor(formatCursor(cursor))).toEqual(cursor)
    }
  })
})

describe("chat", () => {
  it("streams the endpoint's answer, with its key, which the page never sees", async () => {
    const seen: Array<{ authorization: string | undefined; body: any }> = []
    const upstream = createServer((request, response) => {
      let text = ""
      request.on("data", (data) => (text += data))
      request.on("end", () => {
        seen.push({ authorization: request.headers.authorization, body: JSON.parse(text) })
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n`)
        setTimeout(() => response.end(`data: {"choices":[{"delta":{"content":"lo"}}]}\n\ndata: [DONE]\n\n`), 20)
      })
    })
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve))
    try {
      const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`
      const endpoint = { tenant: "acme", key: "hyp_the_key", id: "ep_chat", url, model: "support-bot", keyHint: "hyp_th", keyId: "k", packaged: `sha256:${"a".repeat(64)}` as never, runId: "run_1", state: "healthy" as const, lastCompletionAt: 1 }
      server.engine.endpoints.push(endpoint)
      const me = await server.as("acme")
      const answer = await me("POST", "/api/v1/endpoints/ep_chat/chat", { messages: [{ role: "user", content: "hi" }], stream: true, model: "another" })
      expect(answer.status).toBe(200)
      expect(answer.headers.get("content-type")).toContain("text/event-stream")
      expect(answer.text).toContain("Hel")
      expect(answer.text).toContain("[DONE]")
      expect(answer.text).not.toContain("hyp_the_key")
      expect(seen[0]).toMatchObject({ authorization: "Bearer hyp_the_key", body: { model: "support-bot", stream: true } })
      expect((await me("POST", "/api/v1/endpoints/ep_chat/chat", { messages: [] })).status).toBe(400)
    } finally {
      upstream.closeAllConnections()
      await new Promise((resolve) => upstream.close(resolve))
    }
    const me = await server.as("acme")
    const gone = await me("POST", "/api/v1/endpoints/ep_chat/chat", { messages: [{ role: "user", content: "hi" }] })
    expect([gone.status, gone.json.error.code]).toEqual([503, "endpoint_unreachable"])
  })
})

const waitFor = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}
