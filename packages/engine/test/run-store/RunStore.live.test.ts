import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { SqlClient } from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { RunEvent } from "../../src/run/RunEvent.ts"
import { RunStore } from "../../src/run/RunStore.ts"
import * as RunStoreLayer from "../../src/run/RunStore.layer.ts"
import { databaseAt, debianServer, freshHome, noDebian, removeHome } from "../store/databases.ts"

const queued = (tenant = "local"): RunEvent =>
  ({ _tag: "RunQueued", plan: { version: 1, pipeline: "p", params: {}, secrets: [], steps: [] }, planDigest: "d", tenant, projectDirectory: "/p", by: "test" })
const log = (message: string): RunEvent => ({ _tag: "StepLog", step: "s", level: "info", message })
const ended: RunEvent = { _tag: "RunEnded", outcome: "succeeded" }

const suite = (name: string, connect: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>) =>
  describe(name, () => {
    let stop: () => Promise<void>
    // two processes are two pools with no memory in common
    let here: ManagedRuntime.ManagedRuntime<RunStore | SqlClient, unknown>
    let there: ManagedRuntime.ManagedRuntime<RunStore | SqlClient, unknown>
    const home = freshHome()
    let counter = 0
    const freshId = () => `run-${name.length}${(counter++).toString().padStart(4, "0")}`

    beforeAll(async () => {
      const server = await connect()
      stop = server.stop
      const live = () => ManagedRuntime.make(Layer.provideMerge(Layer.fresh(RunStoreLayer.layer), databaseAt(home, server.url)))
      here = live()
      there = live()
      await here.runPromise(SqlClient)
      await there.runPromise(SqlClient)
    })
    afterAll(async () => {
      await here?.dispose()
      await there?.dispose()
      await removeHome(home)
      await stop?.()
    })

    const store = <A, E>(use: (s: RunStore["Service"]) => Effect.Effect<A, E>, runtime = here) => runtime.runPromise(RunStore.use(use) as Effect.Effect<A, E, RunStore>)

    it("numbers events without gaps under concurrent appends from two processes", async () => {
      const id = freshId()
      await store((s) => s.append(id, queued()))
      await Promise.all([here, there].flatMap((runtime, r) => Array.from({ length: 40 }, (_, i) => store((s) => s.append(id, log(`${r}-${i}`)), runtime))))
      const events = await store((s) => s.events(id))
      expect(events.map((e) => e.seq)).toEqual(Array.from({ length: 81 }, (_, i) => i + 1))
      expect(new Set(events.map((e) => (e.event._tag === "StepLog" ? e.event.message : ""))).size).toBe(81)
    })

    /** Asked on a connection of its own: inside a transaction the answer stays what it was first. */
    const blocked = () =>
      here.runPromise(SqlClient.use((sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%bump%'`)).then(([row]) => row!.n)

    /** Appends with one key that have all looked for it before the first of them may write: each waits for the run's row. */
    const collide = async (id: string) => {
      await store((s) => s.append(id, queued()))
      let answers: Promise<ReadonlyArray<unknown>> = Promise.resolve([])
      await there.runPromise(
        SqlClient.use((sql) =>
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`SELECT 1 FROM runs WHERE id = ${id} FOR UPDATE`
              answers = Promise.all(Array.from({ length: 6 }, (_, i) => store((s) => s.append(id, log(String(i)), { once: "k" }))))
              for (let waiting = 0; waiting < 6; ) {
                yield* Effect.sleep("5 millis")
                waiting = yield* Effect.promise(blocked)
              }
            })
          )
        )
      )
      return answers
    }

    it("appends once per key, also when several do it at the same instant, and gives the first event back", async () => {
      const id = freshId()
      const answers = await collide(id)
      expect(new Set(answers.map((a) => JSON.stringify(a))).size).toBe(1)
      expect((await store((s) => s.events(id))).map((e) => e.seq)).toEqual([1, 2])
      await store((s) => s.append(id, queued()))
      expect((await store((s) => s.events(id))).length).toBe(2)
    })

    it("the once check fails where the key's index is gone (planted)", async () => {
      const id = freshId()
      await here.runPromise(SqlClient.use((sql) => sql`DROP INDEX run_events_once`))
      try {
        const answers = await collide(id)
        expect(new Set(answers.map((a) => JSON.stringify(a))).size).toBeGreaterThan(1)
        expect((await store((s) => s.events(id))).length).toBeGreaterThan(2)
      } finally {
        await here.runPromise(SqlClient.use((sql) => sql`DELETE FROM run_events WHERE run_id = ${id}`))
        await here.runPromise(SqlClient.use((sql) => sql`CREATE UNIQUE INDEX run_events_once ON run_events (run_id, once) WHERE once IS NOT NULL`))
      }
    })

    it("follows without a miss or a duplicate, across processes, from any position, and ends", async () => {
      const id = freshId()
      await store((s) => s.append(id, queued()))
      const followers = [here, there].flatMap((runtime) => [0, 1].map((after) => ({ after, done: store((s) => Stream.runCollect(s.follow(id, after)), runtime) })))
      for (let i = 0; i < 60; i++) await store((s) => s.append(id, log(String(i))), i % 3 === 0 ? there : here)
      await store((s) => s.append(id, ended))
      for (const { after, done } of followers) expect((await done).map((e) => e.seq)).toEqual(Array.from({ length: 62 - after }, (_, i) => i + 1 + after))
      // one that comes when all is over, and one that has seen all
      expect((await store((s) => Stream.runCollect(s.follow(id)))).length).toBe(62)
      expect((await store((s) => Stream.runCollect(s.follow(id, 62)))).length).toBe(0)
    })

    it("a follower that leaves is forgotten, and the others go on", async () => {
      const id = freshId()
      await store((s) => s.append(id, queued()))
      const leaver = here.runFork(RunStore.use((s) => Stream.runDrain(s.follow(id))))
      const stayer = store((s) => Stream.runCollect(s.follow(id)))
      await store((s) => s.append(id, log("a")))
      await Effect.runPromise(Fiber.interrupt(leaver))
      await store((s) => s.append(id, ended))
      expect((await stayer).length).toBe(3)
    })

    it("resolves ids, beginnings and latest, inside one tenant", async () => {
      const [a, b] = [`abcd${freshId()}`, `abce${freshId()}`]
      await store((s) => s.append(a, queued("t1")))
      await store((s) => s.append(`other-${a}`, queued("t2")))
      await new Promise((done) => setTimeout(done, 5))
      await store((s) => s.append(b, queued("t1")))
      expect(await store((s) => s.resolve("t1", "latest"))).toBe(b)
      expect(await store((s) => s.resolve("t1", a))).toBe(a)
      expect(await store((s) => s.resolve("t1", "abcd"))).toBe(a)
      expect(await store((s) => s.list("t1"))).toEqual([b, a])
      const message = async (text: string) => {
        const exit = await here.runPromiseExit(RunStore.use((s) => s.resolve("t1", text)))
        return Exit.isFailure(exit) ? String((Cause.squash(exit.cause) as Error).message) : "found"
      }
      expect(await message("abc")).toContain("at least four characters")
      expect(await message("other")).toContain("no run other")
      await store((s) => s.append(`abcdz${b}`, queued("t1")))
      expect(await message("abcd")).toContain("several runs")
    })

    it("knows what is unfinished, keeps the cache per tenant, refuses unknown runs", async () => {
      const id = freshId()
      await store((s) => s.append(id, queued()))
      expect(await store((s) => s.unfinished)).toContain(id)
      await store((s) => s.append(id, ended))
      expect(await store((s) => s.unfinished)).not.toContain(id)
      await store((s) => s.cachePut("t", "k", { a: [1, "\u0000é"] }, id))
      await store((s) => s.cachePut("t", "k", { a: [2] }, id))
      expect(await store((s) => s.cacheGet("t", "k"))).toEqual({ output: { a: [2] }, runId: id })
      expect(await store((s) => s.cacheGet("u", "k"))).toBeUndefined()
      for (const use of [(s: RunStore["Service"]) => s.events("nope"), (s: RunStore["Service"]) => Stream.runCollect(s.follow("nope")), (s: RunStore["Service"]) => s.append("nope", ended)]) {
        expect(Exit.isFailure(await here.runPromiseExit(RunStore.use((s): Effect.Effect<unknown, unknown> => use(s))))).toBe(true)
      }
    })
  })

suite("private", async () => ({ url: "", stop: async () => undefined }))
const missing = noDebian()
if (missing === undefined) suite("DATABASE_URL", debianServer)
else it.skip(`the same on DATABASE_URL: ${missing}`, () => undefined)
