import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explain, type ExplainContext } from "../../src/plan/explain.ts"
import { planFile, type PlannedFile } from "../../src/plan/planFile.ts"
import { graphLines } from "../../src/plan/render.ts"
import { CHAIN, file, project } from "./project.ts"

/** Runs a plan as far as the cache is concerned: every step's output under its key. */
const asRun = (runId: string, planned: PlannedFile, upTo = Infinity) =>
  Effect.gen(function*() {
    const cache = new Map<string, { readonly output: unknown; readonly runId: string }>()
    for (let i = 0; i < Math.min(upTo, planned.steps.length); i++) {
      const step = (yield* explain(planned.steps, context(planned, cache)))[i]!
      cache.set(step.cacheKey!, { output: { model: { m: i }, dataset: { d: i } }, runId })
    }
    return cache
  })

const context = (planned: PlannedFile, cache: ReadonlyMap<string, { readonly output: unknown; readonly runId: string }>, previous?: ExplainContext["previous"]): ExplainContext => ({
  tenant: "owner",
  projectDirectory: planned.projectDirectory,
  lookup: (key) => Effect.succeed(cache.get(key)),
  ...(previous === undefined ? {} : { previous })
})

describe("explain", () => {
  it.effect("says what is cached, from where, and why the rest is not", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const first = yield* planFile(path)
      const fresh = yield* explain(first.steps, context(first, new Map()))
      assert.deepStrictEqual(fresh.map(({ id, why }) => `${id}: ${why}`), [
        "select: not run before",
        "encrypt: select is not cached",
        "shard: encrypt and select are not cached",
        "train: select and shard are not cached",
        "checkpoint: train is not cached",
        "package: checkpoint is not cached",
        "serve: package is not cached",
        "reward: train and serve are not cached"
      ])
      const cache = yield* asRun("run-one-long-id", first)
      const again = yield* explain(first.steps, context(first, cache))
      assert.isTrue(again.every((step) => step.cached && step.why === "from run run-one-" && step.fromRun === "run-one-long-id"))

      const second = yield* planFile(path, { params: { lr: "1e-3" } })
      const changed = yield* explain(second.steps, context(second, cache, { runId: "run-one-long-id", plan: first.plan }))
      assert.deepStrictEqual(changed.map((step) => step.cached), [true, true, true, false, false, false, false, false])
      assert.strictEqual(changed[3]!.why, "option lr changed from 0.0002 to 0.001 since run run-one-")
      assert.strictEqual(changed[4]!.why, "train is not cached")
      // another tenant sees nothing of it
      const other = yield* explain(first.steps, { ...context(first, cache), tenant: "other" })
      assert.isFalse(other.some((step) => step.cached))
    }))

  it.effect("stops at the first step whose output is not known", () =>
    Effect.gen(function*() {
      const planned = yield* planFile(project(file(CHAIN)))
      const cache = yield* asRun("r", planned, 3)
      const explained = yield* explain(planned.steps, context(planned, cache, { runId: "r", plan: planned.plan }))
      assert.deepStrictEqual(explained.map((step) => step.cached), [true, true, true, false, false, false, false, false])
      assert.match(explained[3]!.why, /changed since run r, or that run did not finish it/)
    }))
})

describe("graphLines", () => {
  it.effect("draws a spine and its branches", () =>
    Effect.gen(function*() {
      const { plan } = yield* planFile(project(file(`
        const { model, dataset } = p.select(pick())
        const shards = p.shard(split({ parts: 1 }), { sealed: p.encrypt(seal(), { dataset }), model })
        for (const epochs of [1, 2]) p.checkpoint(best(), { trained: p.train(learn({ epochs }), { model, shards }) })`)))
      assert.deepStrictEqual(graphLines(plan), [
        "○ select          every",
        "○ encrypt         every  dataset ← select",
        "○ shard           every  sealed ← encrypt, model ← select",
        "○ train           every  model ← select, shards ← shard",
        "○ checkpoint      every  trained ← train",
        "├─○ train-2       every  model ← select, shards ← shard",
        "├─○ checkpoint-2  every  trained ← train-2"
      ])
    }))
})
