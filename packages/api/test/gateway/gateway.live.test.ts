import { generateKeyPairSync } from "node:crypto"
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import OpenAI, { APIError, AuthenticationError, NotFoundError, RateLimitError } from "openai"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { key, KEY, openWorld, route, startUpstream, until, type Upstream, UPSTREAM_MODEL, type World } from "./world.ts"

let world: World
let upstream: Upstream
const client = (apiKey = KEY, options = {}): OpenAI => new OpenAI({ baseURL: `${world.url()}/v1`, apiKey, maxRetries: 0, ...options })
const ask = <const More extends object = object>(content: string, more: More = {} as More) => ({ model: "support-bot", messages: [{ role: "user" as const, content }], ...more })
const post = (body: BodyInit, path = "/v1/chat/completions") => fetch(`${world.url()}${path}`, { method: "POST", headers: { authorization: `Bearer ${KEY}` }, body })
const errorOf = async (promise: Promise<unknown>): Promise<APIError> => {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure
  )
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`)
  return error
}

beforeEach(async () => {
  upstream = await startUpstream()
  world = openWorld()
  await world.publish(1, [route(upstream.url)], [key()])
  await world.start()
})
afterEach(async () => {
  await world.close()
  await upstream.close()
})

describe("OpenAI surface", () => {
  test("chat, completions and models, with our model name both ways and no key upstream", async () => {
    const answer = await client().chat.completions.create(ask("hello", { max_completion_tokens: 5 }))
    expect(answer.choices[0]?.message.content).toBe("echo hello")
    expect(answer.model).toBe("support-bot")
    expect(upstream.bodies[0]).toMatchObject({ model: UPSTREAM_MODEL, max_completion_tokens: 5 })
    expect(JSON.stringify(upstream.headers)).not.toContain(KEY)
    const text = await client().completions.create({ model: "ep-one", prompt: "abc" })
    expect(text.choices[0]?.text).toBe("echo abc")
    expect((await client().models.list()).data.map((model) => model.id)).toEqual(["support-bot"])
    expect((await client().models.retrieve("support-bot")).id).toBe("support-bot")
    expect(world.usage().map((u) => [u.sequence, u.operation, u.promptTokens, u.completionTokens, u.status])).toEqual([[1, "chat.completions", 7, 3, 200], [2, "completions", 7, 3, 200]])
  })

  test("a stream arrives piece by piece; usage only for who asked, metered for all", async () => {
    const chunks = []
    for await (const chunk of await client().chat.completions.create(ask("x", { stream: true as const, stream_options: { include_usage: true } }))) chunks.push(chunk)
    expect(chunks.map((c) => c.choices[0]?.delta?.content ?? "").join("")).toBe("écho")
    expect(chunks.every((c) => c.model === "support-bot")).toBe(true)
    expect(chunks.at(-1)?.usage?.total_tokens).toBe(10)
    const without = []
    for await (const chunk of await client().chat.completions.create(ask("x", { stream: true as const }))) without.push(chunk)
    expect(without.some((c) => c.usage)).toBe(false)
    expect(without.length).toBe(4)
    const raw = await (await fetch(`${world.url()}/v1/completions`, { method: "POST", headers: { authorization: `Bearer ${KEY}` }, body: JSON.stringify({ model: "support-bot", prompt: "p", stream: true }) })).text()
    expect(raw).toMatch(/data: \[DONE\]\n\n$/)
    expect(raw).not.toMatch(/\n\n\n/)
    expect(world.usage().map((u) => u.promptTokens + u.completionTokens)).toEqual([10, 10, 10])
  })

  test("the first piece of a stream is here while the upstream still holds the rest, and leaving ends the upstream's work", async () => {
    const stream = await client().chat.completions.create(ask("hang", { stream: true as const }))
    const first = await stream[Symbol.asyncIterator]().next()
    expect(first.value?.choices[0]?.delta.content).toBe("é")
    expect(upstream.active).toBe(1)
    stream.controller.abort()
    await until("the upstream saw the abort", () => upstream.aborted === 1)
    const record = await until("metered", () => world.usage()[0])
    expect(record).toMatchObject({ status: 499, completionTokens: 3, estimated: true })
  })

  test("leaving a request without streaming ends the upstream's work too", async () => {
    const controller = new AbortController()
    const asked = client().chat.completions.create(ask("hang"), { signal: controller.signal }).catch(() => undefined)
    await until("it is there", () => upstream.active === 1)
    controller.abort()
    await asked
    await until("the upstream saw the abort", () => upstream.aborted === 1)
    expect((await until("metered", () => world.usage()[0])).status).toBe(499)
  })

  test("a Unix socket as upstream", async () => {
    const local = await startUpstream({ socket: join(world.directory, "up.sock") })
    try {
      await world.publish(2, [route(local.url)], [key()])
      expect((await client().chat.completions.create(ask("via socket"))).choices[0]?.message.content).toBe("echo via socket")
    } finally {
      await local.close()
    }
  })
})

describe("refusals", () => {
  test("no key, a wrong key, a key of another endpoint or tenant", async () => {
    expect(await errorOf(client("hk-wrong").chat.completions.create(ask("x")))).toBeInstanceOf(AuthenticationError)
    const bare = await fetch(`${world.url()}/v1/models`)
    expect(bare.status).toBe(401)
    expect(await bare.json()).toMatchObject({ error: { type: "authentication_error", code: "invalid_api_key" } })
    await world.publish(2, [route(upstream.url), route(upstream.url, { id: "ep-two", model: "other" }), route(upstream.url, { id: "ep-3", tenant: "them", model: "theirs" })], [key({ endpoints: ["ep-one", "ep-3"] })])
    for (const model of ["other", "theirs", "nonsense"]) {
      const error = await errorOf(client().chat.completions.create({ ...ask("x"), model }))
      expect(error).toBeInstanceOf(NotFoundError)
      expect(error.message).toContain("It has: support-bot.")
    }
    expect(upstream.bodies).toEqual([])
  })

  test("quotas: requests a minute, tokens a day (also after a restart)", async () => {
    await world.publish(2, [route(upstream.url)], [key({ requestsPerMinute: 2 })])
    await client().chat.completions.create(ask("1"))
    await client().chat.completions.create(ask("2"))
    const error = await errorOf(client().chat.completions.create(ask("3")))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(Number(error.headers?.get("retry-after"))).toBeGreaterThan(0)
    await world.publish(3, [route(upstream.url)], [key({ tokensPerDay: 25 })])
    await client().chat.completions.create(ask("4")) // 20 used before, 30 after
    await world.kill("SIGKILL")
    await world.start()
    expect((await errorOf(client().chat.completions.create(ask("5")))).message).toContain("25 tokens a day")
    expect(upstream.bodies.length).toBe(3)
  })

  test("bad bodies, too large ones, unknown paths", async () => {
    expect((await post("{")).status).toBe(400)
    expect(await (await post("{}")).json()).toMatchObject({ error: { message: expect.stringContaining("support-bot") } })
    expect((await post("null")).status).toBe(400)
    // refused by its length, before it has all arrived: a client that is still writing may see the connection closed instead of the answer
    expect([413, "closed"]).toContain(await post(Buffer.alloc(17 * 1024 * 1024)).then((r) => r.status, () => "closed"))
    expect(await (await post("{}", "/v1/images")).json()).toMatchObject({ error: { code: "unknown_url" } })
    const embeddings = await errorOf(client().embeddings.create({ model: "support-bot", input: "x" }))
    expect([embeddings.status, embeddings.code]).toEqual([400, "unsupported_endpoint"])
  })

  test("an upstream that is down, breaks off, answers nonsense or with an error of its own shape", async () => {
    expect((await errorOf(client().chat.completions.create(ask("break")))).status).toBe(503)
    expect((await errorOf(client().chat.completions.create(ask("broken json")))).status).toBe(502)
    const detail = await errorOf(client().chat.completions.create(ask("detail")))
    expect([detail.status, detail.message.includes("no such thing in support-bot"), detail.message.includes(UPSTREAM_MODEL)]).toEqual([422, true, false])
    const midway = client().chat.completions.create(ask("break midway", { stream: true as const }))
    const read = async (): Promise<void> => {
      for await (const chunk of await midway) void chunk
    }
    expect((await errorOf(read())).message).toContain("broke off")
    await upstream.close()
    const down = await errorOf(client().chat.completions.create(ask("x")))
    expect([down.status, down.code]).toEqual([503, "upstream_unavailable"])
    expect(down.message).toContain("hyper endpoints")
    expect(world.usage().map((u) => u.status)).toEqual([503, 502, 422, 502, 503])
  })

  test("no more at the upstream than the route allows, no more waiting than the queue holds", async () => {
    await world.publish(2, [route(upstream.url, { concurrency: 2, queue: 3 })], [key()])
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => client().chat.completions.create(ask("slow"))))
    expect(results.filter((r) => r.status === "fulfilled").length).toBe(5)
    expect(upstream.most).toBe(2)
    const refused = results.find((r) => r.status === "rejected")
    expect(refused?.reason).toMatchObject({ code: "overloaded" })
  })
})

describe("snapshots", () => {
  test("a tampered, foreign, older or unreadable snapshot is refused and the old one kept", async () => {
    await world.publish(5, [route(upstream.url)], [key()])
    const good = readFileSync(world.files.snapshot, "utf8")
    const stays = async (why: string): Promise<void> => {
      await until(why, async () => (await world.health()).refused?.includes(why))
      expect((await client().chat.completions.create(ask("still"))).choices[0]?.message.content).toBe("echo still")
      expect((await world.health()).snapshot).toBe(5)
    }
    writeFileSync(world.files.snapshot, good.replaceAll("support-bot", "someone-bot").replaceAll('\\"version\\":5', '\\"version\\":6'))
    await stays("its signature is not by this home's gateway key")
    await world.publish(7, [], [], { by: generateKeyPairSync("ed25519").privateKey, wait: false })
    await stays("its signature is not by this home's gateway key")
    await world.publish(4, [], [], { wait: false })
    await stays("its version 4 is older than 5")
    writeFileSync(world.files.snapshot, "not json at all")
    await stays("it is not JSON")
    // the check can pass: a good newer one is taken
    await world.publish(6, [], [])
    expect((await errorOf(client().chat.completions.create(ask("x")))).status).toBe(401)
  })

  test("a restart does not fall back to an older snapshot, and works from the accepted one", async () => {
    await world.publish(9, [route(upstream.url)], [key()])
    await world.kill("SIGKILL")
    await world.publish(3, [], [], { wait: false })
    await world.start()
    const health = await world.health()
    expect([health.snapshot, health.status]).toEqual([9, "degraded"])
    await client().chat.completions.create(ask("x"))
  })
})

describe("process", () => {
  test("kill -9: usage goes on with the next sequence, a torn line is dropped, the port is kept", async () => {
    const before = JSON.parse(readFileSync(world.files.state, "utf8")) as { port: number; gateway: string }
    for (const word of ["a", "b", "c"]) await client().chat.completions.create(ask(word))
    await world.kill("SIGKILL")
    appendFileSync(world.files.usage, '{"gateway":"torn')
    const after = await world.start()
    expect([after.port, after.gateway]).toEqual([before.port, before.gateway])
    await client().chat.completions.create(ask("d"))
    expect(world.usage().map((u) => u.sequence)).toEqual([1, 2, 3, 4])
  })

  test("SIGTERM ends it, with the answer under way finished", async () => {
    const slow = client().chat.completions.create(ask("slow"))
    await until("it is there", () => upstream.active === 1)
    await world.kill("SIGTERM")
    expect((await slow).choices[0]?.message.content).toBe("echo slow")
    expect(existsSync(world.files.lock)).toBe(false)
    expect(world.usage().length).toBe(1)
  })

  test("a second gateway on the same directory is refused", async () => {
    const second = openWorld()
    try {
      const { spawnSync } = await import("node:child_process")
      const { GATEWAY } = await import("./world.ts")
      const result = spawnSync(process.execPath, [GATEWAY, world.directory], { encoding: "utf8" })
      expect([result.status, result.stderr.includes("already runs as process")]).toEqual([3, true])
      expect((await world.health()).status).toBe("ok")
    } finally {
      await second.close()
    }
  })

  test("a port that was asked for and is taken is an error that names its owner; otherwise the next one is taken", async () => {
    const blocker = createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => blocker.once("listening", resolve))
    const port = (blocker.address() as { port: number }).port
    const other = openWorld()
    try {
      await expect(other.start({ HYPER_GATEWAY_PORT: String(port) })).rejects.toThrow(new RegExp(`port ${port} \\(HYPER_GATEWAY_PORT\\) is in use by process ${process.pid}`))
      const free = await other.start()
      expect(free.port).not.toBe((JSON.parse(readFileSync(world.files.state, "utf8")) as { port: number }).port)
    } finally {
      blocker.close()
      await other.close()
    }
  })

  test("no key in arguments, log, usage or any other file; the directory is the user's own", async () => {
    await client().chat.completions.create(ask("private question 4711"))
    await errorOf(client().chat.completions.create({ ...ask("x"), model: "nope" }))
    const secrets = [KEY, "private question 4711", "echo private"]
    const places = (): string =>
      [readFileSync(`/proc/${world.child().pid}/cmdline`, "utf8"), world.log(), ...["snapshot", "accepted", "usage", "state", "id"].map((name) => readFileSync(world.files[name as "usage"], "utf8"))].join("\n")
    expect(secrets.filter((secret) => places().includes(secret))).toEqual([])
    expect(statSync(world.directory).mode & 0o777).toBe(0o700)
    // the scan can find something
    appendFileSync(world.files.usage, `${JSON.stringify({ leak: KEY })}\n`)
    expect(secrets.filter((secret) => places().includes(secret))).toEqual([KEY])
  })
})
