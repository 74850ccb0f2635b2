import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, expect, it } from "vitest"
import { makeExecutorStore } from "../../src/durable/embedded/ExecutorStore.ts"
import { databaseAt, freshHome, removeHome } from "../store/databases.ts"

const home = freshHome()
const runtime = ManagedRuntime.make(databaseAt(home))
afterAll(async () => {
  await runtime.dispose()
  await removeHome(home)
})
const step = (hash: string, json: string) => ({ hash, kind: "data" as const, json })
const store = <A>(epoch: number, use: (s: ReturnType<typeof makeExecutorStore>) => Effect.Effect<A, unknown>): Promise<A> =>
  runtime.runPromise(SqlClient.use((sql) => use(makeExecutorStore(sql, epoch))) as Effect.Effect<A, unknown, SqlClient>)

it("takes steps one by one and together, in order; the same again, but no other result", async () => {
  expect(await store(1, (s) => s.begin("a"))).toBe("new")
  expect(await store(1, (s) => s.begin("a"))).toBe("known")
  expect(await store(1, (s) => s.finish([{ runId: "a", step: step("1", "1") }]))).toEqual([true])
  const both = [{ runId: "a", step: step("1", "2") }, { runId: "a", step: step("2", "2") }, { runId: "none", step: step("1", "1") }, { runId: "a", step: step("3", '"\\u0000"') }]
  expect(await store(1, (s) => s.finish(both))).toEqual([false, true, false, true])
  expect(await store(1, (s) => s.finish([both[1]!]))).toEqual([true])
  expect(await store(1, (s) => s.finish([both[0]!]))).toEqual([false])
  expect((await store(1, (s) => s.load("a")))?.finished).toEqual([step("1", "1"), step("2", "2"), step("3", '"\\u0000"')])
})

it("is closed to an owner that was replaced, and to a workflow that is over", async () => {
  await store(1, (s) => s.begin("b"))
  expect(await store(2, (s) => s.adopt)).toContain("b")
  expect(await store(1, (s) => s.finish([{ runId: "b", step: step("1", "1") }]))).toEqual([false])
  expect(await store(1, (s) => s.load("b"))).toBeUndefined()
  await store(1, (s) => s.end("b", "failed", "from the grave"))
  expect(await store(2, (s) => s.finish([{ runId: "b", step: step("1", "1") }]))).toEqual([true])
  await store(2, (s) => s.end("b", "ended"))
  expect(await store(2, (s) => s.finish([{ runId: "b", step: step("2", "1") }]))).toEqual([false])
  expect(await store(2, (s) => s.begin("b"))).toBe("over")
})

/** Asked on a connection of its own: inside a transaction the answer stays what it was first. */
const blocked = () =>
  runtime.runPromise(SqlClient.use((sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%durable_runs SET epoch%'`)).then(([row]) => row!.n)

it("a take-over waits for a write under way, and reads what it wrote", async () => {
  await store(3, (s) => s.begin("c"))
  const order: Array<string> = []
  let takeOver: Promise<unknown> = Promise.resolve()
  await runtime.runPromise(
    SqlClient.use((sql) =>
      sql.withTransaction(
        Effect.gen(function* () {
          yield* makeExecutorStore(sql, 3).finish([{ runId: "c", step: step("1", "1") }])
          takeOver = store(4, (s) => s.adopt).then(() => order.push("taken over"))
          for (let waiting = 0; waiting === 0; ) {
            yield* Effect.sleep("5 millis")
            waiting = yield* Effect.promise(blocked)
          }
          order.push("written")
        })
      )
    )
  )
  await takeOver
  expect(order).toEqual(["written", "taken over"])
  expect((await store(4, (s) => s.load("c")))?.finished).toEqual([step("1", "1")])
})
