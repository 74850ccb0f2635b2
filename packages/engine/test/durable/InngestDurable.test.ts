/** The seam to a real server: what is sent to it, and that nobody else can enter the function. A real server is driven elsewhere. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, expect, it } from "vitest"
import { encodeCall } from "../../src/durable/embedded/Protocol.ts"
import { InngestEndpoint, inngestDurable } from "../../src/durable/InngestDurable.ts"
import { Durable } from "../../src/run/Durable.ts"

const received: Array<{ readonly path: string; readonly body: any; readonly authorization: string | undefined }> = []
const server = createServer((request, response) => {
  let text = ""
  request.on("data", (chunk) => (text += chunk))
  request.on("end", () => {
    received.push({ path: request.url ?? "", body: JSON.parse(text || "null"), authorization: request.headers.authorization })
    response.setHeader("content-type", "application/json")
    response.end(request.url?.startsWith("/e/") === true ? '{"ids":["1"],"status":200}' : '{"ok":true,"modified":true}')
  })
})
let runtime: ManagedRuntime.ManagedRuntime<Durable | InngestEndpoint, never>
const entered: Array<string> = []

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const body = async (runId: string) => void entered.push(runId)
  runtime = ManagedRuntime.make(Layer.fresh(inngestDurable(body, { baseUrl, eventKey: Redacted.make("ek"), signingKey: Redacted.make("signkey-test-aabbccdd"), ownOrigin: "http://127.0.0.1:1" })))
})
afterAll(async () => {
  await runtime.dispose()
  server.close()
})

it("starts and cancels by event, the start under an id of its own", async () => {
  await runtime.runPromise(Durable.use((d) => Effect.andThen(d.start("r1"), d.cancel("r1"))))
  const [start, cancel] = received.filter(({ path }) => path === "/e/ek").map(({ body }) => body[0])
  expect(start).toMatchObject({ name: "hyper/run.requested", data: { runId: "r1" }, id: "start-r1" })
  expect(cancel).toMatchObject({ name: "hyper/run.cancelled", data: { runId: "r1" } })
})

it("registers the one function, with its tries and its cancellation", async () => {
  await runtime.runPromise(InngestEndpoint.use((e) => e.register))
  const registered = received.find(({ path }) => path.startsWith("/fn/register"))
  const functions = registered?.body.functions as ReadonlyArray<any>
  const main = functions.find(({ id }) => id === "hypernode-run")
  expect(main.triggers).toEqual([{ event: "hyper/run.requested" }])
  expect(main.cancel[0].if).toBe("event.data.runId == async.data.runId")
  expect(JSON.stringify(registered?.body)).not.toContain("aabbccdd")
})

it("does not enter the function for a request that the server did not sign", async () => {
  const { body, url } = encodeCall({ runId: "r1", finished: [], attempt: 0, attempts: 4, mode: { _tag: "Checkpoint" } })
  const { handle } = await runtime.runPromise(InngestEndpoint)
  const response = await handle(new Request(url, { method: "POST", headers: { host: "127.0.0.1:1", "content-type": "application/json" }, body }))
  expect(response.status).toBe(401)
  expect(entered).toEqual([])
})
