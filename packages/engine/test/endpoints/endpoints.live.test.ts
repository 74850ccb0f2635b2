import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { tmpdir } from "node:os"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { Digest } from "../../src/artifact/Digest.ts"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { Endpoints } from "../../src/capability/Endpoints.ts"
import { type JobError, type JobHandle, Jobs } from "../../src/capability/Jobs.ts"
import * as GatewayEndpoints from "../../src/endpoints/GatewayEndpoints.ts"
import { GatewayProgram } from "../../src/endpoints/GatewayProgram.ts"
import { gatewayFiles } from "../../src/endpoints/GatewayState.ts"
import { readGatewayState, runningGateway, stopGateway } from "../../src/endpoints/gatewayProcess.ts"
import { endpointUsage, ingestUsage } from "../../src/endpoints/ingestUsage.ts"
import { setQuota } from "../../src/endpoints/publishSnapshot.ts"
import { type Home, homeAt } from "../../src/Home.ts"
import { isRunning, signalProcess } from "../../src/jobs/ProcessIdentity.ts"
import { layer as jobsLayer } from "../../src/jobs/SupervisedJobs.ts"
import { layer as keyringLayer } from "../../src/keys/FileKeyring.ts"
import type { Keyring } from "../../src/keys/Keyring.ts"
import { databaseAt, freshHome, removeHome } from "../store/databases.ts"

const GATEWAY = fileURLToPath(new URL("../../../api/src/gateway/main.ts", import.meta.url))
const packaged = `sha256:${"a".repeat(64)}` as Digest

/** One database for all; each test has a home (gateway, keys, jobs) of its own and clean tables. */
let database: Home
let home: Home
let upstream: ReturnType<typeof createServer>
let url: string
const sql = () => databaseAt(database)

type Services = CurrentHome | Endpoints | Jobs | Keyring | SqlClient
const layers = (port?: number): Layer.Layer<Services, unknown> =>
  Layer.fresh(GatewayEndpoints.layer).pipe(
    Layer.provideMerge(Layer.fresh(jobsLayer)),
    Layer.provideMerge(Layer.fresh(keyringLayer)),
    Layer.provideMerge(sql()),
    Layer.provideMerge(Layer.succeed(CurrentHome, home)),
    Layer.provide(Layer.succeed(GatewayProgram, port === undefined ? { path: GATEWAY } : { path: GATEWAY, port }))
  )
/** A daemon's life: the layer opens, the body runs, the layer closes. */
const daemon = <A>(body: Effect.Effect<A, unknown, Services>, port?: number): Promise<A> => Effect.runPromise(Effect.provide(body, layers(port)))

const job = Effect.gen(function* () {
  const jobs = yield* Jobs
  return yield* jobs.start(`run-1/serve/${Math.random()}`, { purpose: "serve", runId: "run-1", stepId: "serve", command: ["/bin/sleep", "600"], env: { PATH: "/usr/bin:/bin" } })
})
const register = (handle: JobHandle, more: { readonly id?: string; readonly upstream?: string; readonly tenant?: string } = {}) =>
  Endpoints.use((endpoints) => endpoints.register({ id: "ep-1", tenant: "default", runId: "run-1", model: "support-bot", packaged, upstream: url, upstreamModel: "up", job: handle, ...more }))
const ask = async (base: string, key: string): Promise<{ readonly status: number; readonly body: unknown }> => {
  const response = await fetch(`${base}/chat/completions`, { method: "POST", headers: { authorization: `Bearer ${key}`, connection: "close" }, body: JSON.stringify({ model: "support-bot", messages: [{ role: "user", content: "canary-question" }] }) })
  return { status: response.status, body: await response.json() }
}

const holding = (needle: string): Array<string> =>
  readdirSync(home.root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(needle))
    .map((entry) => join(entry.parentPath, entry.name).slice(home.root.length + 1))

beforeAll(async () => {
  database = freshHome()
  await Effect.runPromise(Effect.scoped(Layer.build(sql()))) // made once, so that the tests need not wait for initdb
})
afterAll(() => removeHome(database))
beforeEach(async () => {
  home = homeAt(mkdtempSync(join(tmpdir(), "hep-")), database.cache)
  upstream = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ model: "up", choices: [{ message: { content: "hello" } }], usage: { prompt_tokens: 4, completion_tokens: 2 } })))
  })
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve))
  url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  await daemon(SqlClient.use((client) => Effect.all([client`DELETE FROM endpoints`, client`DELETE FROM gateway_usage`])))
})
afterEach(async () => {
  await daemon(
    Effect.gen(function* () {
      const jobs = yield* Jobs
      yield* SqlClient.use((client) => client`DELETE FROM endpoints`) // so that nothing brings the gateway back
      yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.cancel(handle))
      yield* stopGateway(home)
    })
  )
  upstream.closeAllConnections()
  upstream.close()
  rmSync(home.root, { recursive: true, force: true })
})

describe("endpoints", () => {
  test("registered once, it answers at once, outlives the daemon, and the next daemon knows it", async () => {
    const first = await daemon(
      Effect.gen(function* () {
        const endpoint = yield* register(yield* job)
        const key = yield* Endpoints.use((e) => e.apiKey("ep-1"))
        expect(yield* Effect.promise(() => ask(endpoint.url, key))).toMatchObject({ status: 200, body: { model: "support-bot" } })
        expect(key.startsWith(endpoint.keyHint)).toBe(true)
        expect(key).toMatch(/^hk-[\w-]{43}$/)
        yield* Endpoints.use((e) => e.markHealth("ep-1", true))
        return { endpoint, key }
      })
    )
    expect(await ask(first.endpoint.url, first.key)).toMatchObject({ status: 200 })
    const pid = runningGateway(home.gateway)?.pid
    await daemon(
      Effect.gen(function* () {
        const endpoints = yield* Endpoints
        const record = yield* endpoints.get("ep-1")
        expect(record).toMatchObject({ endpoint: first.endpoint, state: "healthy", runId: "run-1", upstream: url })
        expect(record?.lastCompletionAt).toBeGreaterThan(0)
        expect((yield* endpoints.list("default")).length).toBe(1)
        expect(yield* endpoints.list("another")).toEqual([])
        expect(yield* endpoints.get("nope")).toBeUndefined()
        // same id again: same key, new upstream, same gateway
        expect(yield* register(record!.job)).toEqual(first.endpoint)
        expect(yield* endpoints.apiKey("ep-1")).toBe(first.key)
        expect(yield* endpoints.gatewayUrl).toBe(first.endpoint.url.replace("/v1", ""))
      })
    )
    expect(runningGateway(home.gateway)?.pid).toBe(pid)
  })

  test("stop takes the route away first, then the server; twice is as good as once; the key comes back with the endpoint", async () => {
    await daemon(
      Effect.gen(function* () {
        const endpoints = yield* Endpoints
        const jobs = yield* Jobs
        const handle = yield* job
        const { url: base } = yield* register(handle)
        const key = yield* endpoints.apiKey("ep-1")
        yield* endpoints.stop("ep-1")
        expect((yield* jobs.state(handle))._tag).toBe("Ended")
        expect((yield* Effect.promise(() => ask(base, key))).status).toBe(401)
        expect((yield* endpoints.get("ep-1"))?.state).toBe("stopped")
        yield* endpoints.stop("ep-1")
        expect((yield* Effect.flip(endpoints.stop("nope"))).message).toContain("no endpoint nope")
        yield* register(yield* job)
        expect(yield* endpoints.apiKey("ep-1")).toBe(key)
        expect((yield* Effect.promise(() => ask(base, key))).status).toBe(200)
      })
    )
  })

  test("a server that is gone is shown as unhealthy", async () => {
    await daemon(
      Effect.gen(function* () {
        const handle = yield* job
        yield* register(handle)
        yield* Endpoints.use((e) => e.markHealth("ep-1", true))
        yield* Jobs.use((jobs) => jobs.cancel(handle))
        expect((yield* Endpoints.use((e) => e.get("ep-1")))?.state).toBe("unhealthy")
      })
    )
  })

  test("kill -9 of the gateway: the layer brings it back, on its port, and usage goes on and is counted once", async () => {
    await daemon(
      Effect.gen(function* () {
        const endpoints = yield* Endpoints
        const { url: base } = yield* register(yield* job)
        const key = yield* endpoints.apiKey("ep-1")
        for (let i = 0; i < 3; i++) yield* Effect.promise(() => ask(base, key))
        const before = runningGateway(home.gateway)!
        signalProcess(before, "SIGKILL")
        while (isRunning(before)) yield* Effect.sleep("10 millis")
        expect(yield* Effect.promise(() => ask(base, key).catch(() => "down"))).toBe("down")
        expect(yield* endpoints.gatewayUrl).toBe(base.replace("/v1", ""))
        for (let i = 0; i < 2; i++) yield* Effect.promise(() => ask(base, key))
        const after = runningGateway(home.gateway)!
        expect([after.gateway, after.pid === before.pid]).toEqual([before.gateway, false])
        // two at once, and again: each record once
        yield* Effect.all([ingestUsage, ingestUsage], { concurrency: 2 })
        expect(yield* ingestUsage).toBe(0)
        const rows = yield* SqlClient.use((client) => client<{ sequence: number }>`SELECT sequence FROM gateway_usage ORDER BY sequence`)
        expect(rows.map((row) => row.sequence)).toEqual([1, 2, 3, 4, 5])
        expect(yield* endpointUsage("default")).toEqual([{ endpoint: "ep-1", requests: 5, promptTokens: 20, completionTokens: 10 }])
        // the check can fail: a record of another gateway counts anew
        const line = readFileSync(gatewayFiles(home.gateway).usage, "utf8").split("\n")[1]!
        writeFileSync(gatewayFiles(home.gateway).usage.replace(".jsonl", ".9.jsonl"), `${line.replace(before.gateway, "gw-other")}\n${line}\n{"torn`)
        expect(yield* ingestUsage).toBe(1)
        expect(readdirSync(gatewayFiles(home.gateway).usageDirectory)).toEqual(["usage.jsonl"])
      })
    )
  })

  test("without being asked: a watch brings a dead gateway back while something is served", async () => {
    await daemon(
      Effect.gen(function* () {
        yield* register(yield* job)
        const before = runningGateway(home.gateway)!
        signalProcess(before, "SIGKILL")
        for (let i = 0; i < 400 && (runningGateway(home.gateway)?.pid ?? before.pid) === before.pid; i++) yield* Effect.sleep("50 millis")
        expect(runningGateway(home.gateway)?.gateway).toBe(before.gateway)
        // a server that is gone is no reason: two rounds of the watch later there still is none
        yield* Jobs.use((jobs) => Effect.flatMap(jobs.list, (all) => Effect.forEach(all, ({ handle }) => jobs.cancel(handle))))
        yield* stopGateway(home)
        yield* Effect.sleep("11 seconds")
        expect(runningGateway(home.gateway)).toBeUndefined()
      })
    )
  })

  test("quotas reach the gateway; versions go on when SQL was set back", async () => {
    await daemon(
      Effect.gen(function* () {
        const endpoints = yield* Endpoints
        const { url: base } = yield* register(yield* job)
        const key = yield* endpoints.apiKey("ep-1")
        yield* setQuota("ep-1", { requestsPerMinute: 1, tokensPerDay: null })
        expect((yield* Effect.flip(setQuota("nope", { requestsPerMinute: 1, tokensPerDay: null }))).message).toContain("no endpoint nope")
        const statuses: Array<number> = []
        for (let i = 0; i < 100 && !statuses.includes(429); i++) {
          statuses.push((yield* Effect.promise(() => ask(base, key))).status)
          yield* Effect.sleep("10 millis")
        }
        expect(statuses).toContain(429)
        yield* SqlClient.use((client) => client`UPDATE gateway_snapshot SET version = 0`)
        yield* register((yield* endpoints.get("ep-1"))!.job) // waits until the gateway has taken it
      })
    )
  })

  test("a key of the gateway that was replaced behind its back is told, not followed", async () => {
    await daemon(Effect.flatMap(job, register))
    await Effect.runPromise(stopGateway(home))
    writeFileSync(gatewayFiles(home.gateway).publicKey, Buffer.alloc(32).toString("base64"))
    const error = await daemon(Effect.flip(Effect.flatMap(job, register)))
    expect((error as JobError).message).toContain("another key")
    expect((error as JobError).remedy).toContain("hyper stop")
  })

  test("a port that was asked for and is taken is an error with its owner", async () => {
    const port = (upstream.address() as AddressInfo).port
    const error = await daemon(Effect.flip(Effect.flatMap(job, register)), port)
    expect((error as JobError).message).toContain(`port ${port} (HYPER_GATEWAY_PORT) is in use by process ${process.pid}`)
    expect(readGatewayState(home.gateway)).toBeUndefined()
  })

  test("the plain key is in the keyring's file and nowhere else in the home", async () => {
    const key = await daemon(
      Effect.gen(function* () {
        const { url: base } = yield* register(yield* job)
        const plain = yield* Endpoints.use((e) => e.apiKey("ep-1"))
        yield* Effect.promise(() => ask(base, plain))
        yield* ingestUsage
        return plain
      })
    )
    const rows = await daemon(SqlClient.use((client) => Effect.all([client`SELECT * FROM endpoints`, client`SELECT * FROM gateway_usage`])))
    expect(holding(key).every((path) => path.startsWith("keys/"))).toBe(true)
    expect(holding(key).length).toBe(1) // so the scan finds what is there
    expect(holding("canary-question")).toEqual([])
    expect(JSON.stringify(rows)).not.toContain(key)
  })
})
