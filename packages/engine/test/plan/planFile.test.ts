import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { dirname } from "node:path"
import { refusals, total } from "../../src/plan/estimate.ts"
import { Plan } from "../../src/plan/Plan.ts"
import { planFile } from "../../src/plan/planFile.ts"
import { CHAIN, file, project, write } from "./project.ts"

describe("planFile", () => {
  it.effect("plans the eight stages, with defaults filled in and the plugin recorded", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const { digest, estimates, plan, projectDirectory } = yield* planFile(path)
      assert.deepStrictEqual(plan.steps.map((step) => step.id), ["select", "encrypt", "shard", "train", "checkpoint", "package", "serve", "reward"])
      const train = plan.steps[3]!
      assert.deepStrictEqual(train.options, { method: "lora", epochs: 1, lr: 2e-4, token: { $secret: "HF_TOKEN" } })
      assert.deepStrictEqual(train.inputs, { model: { step: "select", path: ["model"] }, shards: { step: "shard", path: [] } })
      assert.deepStrictEqual({ ...train.plugin, sourceDigest: "" }, { id: "every", specifier: "./plugins.ts", version: "1.2.3", sourceDigest: "", contractVersion: 1 })
      assert.deepStrictEqual([plan.pipeline, plan.params, plan.secrets], ["sample", { lr: 2e-4 }, ["HF_TOKEN"]])
      assert.strictEqual(projectDirectory, dirname(path))
      // JSON through and through, and the same plan again has the same digest.
      assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Plan)(JSON.parse(JSON.stringify(plan))), plan)
      assert.strictEqual((yield* planFile(path)).digest, digest)
      assert.deepStrictEqual(total(estimates), { seconds: [10, 20], downloadBytes: 5, notes: [{ level: "refuse", message: "no python", remedy: "install it" }], sideEffects: ["starts a process"], tools: ["python3"], hosts: ["local"] })
      assert.deepStrictEqual(refusals(estimates).map((note) => note.step), ["train"])
    }))

  it.effect("takes parameters as text or as JSON, typed by their defaults", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      for (const lr of ["1e-4", 1e-4]) {
        const { plan } = yield* planFile(path, { params: { lr } })
        assert.deepStrictEqual(plan.params, { lr: 1e-4 })
        assert.strictEqual((plan.steps[3]!.options as { lr: number }).lr, 1e-4)
      }
    }))

  it.effect("fans out in a loop, numbering steps or naming them as asked, and joins", () =>
    Effect.gen(function*() {
      const { plan } = yield* planFile(project(file(`
        const { model, dataset } = p.select(pick())
        const shards = p.shard(split({ parts: 1 }), { sealed: p.encrypt(seal(), { dataset }), model })
        for (const epochs of [1, 2, 3]) p.train(learn({ epochs }), { model, shards })
        for (const lr of [1e-3, 1e-4]) p.train(learn({ lr }), { model, shards }, { id: "lr-" + lr })`)))
      assert.deepStrictEqual(plan.steps.slice(3).map((step) => step.id), ["train", "train-2", "train-3", "lr-0.001", "lr-0.0001"])
    }))

  it.effect("reads TypeScript as modules in a project that npm init made", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const plain = yield* planFile(path)
      for (const type of ["commonjs", "module"]) {
        write(dirname(path), { "package.json": JSON.stringify({ type }) })
        assert.strictEqual((yield* planFile(path)).digest, plain.digest)
      }
    }))

  it.effect("shows what the file printed, apart from the plan", () =>
    Effect.gen(function*() {
      const planned = yield* planFile(project(file(CHAIN, `console.log("out"); console.error("err")`)))
      assert.match(planned.output, /out\n/)
      assert.match(planned.output, /err\n/)
    }))
})
