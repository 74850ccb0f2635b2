/**
 * Every program in `pipelines/` against its golden plan in `fixtures/plans/`. A difference is either a mistake or a decision; after a
 * decision: `UPDATE_GOLDEN=1 npx vitest run packages/engine/test/plan/golden.test.ts`, and read the diff.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { Plan } from "../../src/plan/Plan.ts"
import { planFile } from "../../src/plan/planFile.ts"

const root = resolve(import.meta.dirname, "../../../..")
const plans = join(root, "fixtures/plans")

/** `pipelines/*.ts`, and `pipelines/<name>/pipeline.ts` of examples that need more than one file. */
const programs = readdirSync(join(root, "pipelines"), { withFileTypes: true }).flatMap((entry) => {
  if (entry.isDirectory()) return existsSync(join(root, "pipelines", entry.name, "pipeline.ts")) ? [join("pipelines", entry.name, "pipeline.ts")] : []
  return entry.name.endsWith(".ts") ? [join("pipelines", entry.name)] : []
})

const nameOf = (program: string): string => (basename(program) === "pipeline.ts" ? basename(dirname(program)) : basename(program, ".ts"))

/** A plugin's source may change without changing what a plan says. */
const normalised = (plan: Plan): unknown => ({ ...plan, steps: plan.steps.map((step) => ({ ...step, plugin: { ...step.plugin, sourceDigest: "sha256:..." } })) })

describe("golden plans", () => {
  for (const program of programs) {
    it.effect(program, () =>
      Effect.gen(function*() {
        const { plan } = yield* planFile(join(root, program), { estimate: false })
        yield* Schema.decodeUnknownEffect(Plan)(JSON.parse(JSON.stringify(plan)))
        const golden = join(plans, `${nameOf(program)}.json`)
        const text = `${JSON.stringify(normalised(plan), null, 2)}\n`
        if (process.env["UPDATE_GOLDEN"] === "1") {
          mkdirSync(plans, { recursive: true })
          writeFileSync(golden, text)
        }
        assert.isTrue(existsSync(golden), `${golden} is missing: run with UPDATE_GOLDEN=1 and read what it says`)
        assert.deepStrictEqual(JSON.parse(text), JSON.parse(readFileSync(golden, "utf8")))
      }))
  }

  it("has no plan without a program", () => {
    assert.deepStrictEqual(readdirSync(plans).toSorted(), programs.map((program) => `${nameOf(program)}.json`).toSorted())
  })

  it("a plan says nothing of the machine it was made on", () => {
    for (const file of readdirSync(plans)) assert.notInclude(readFileSync(join(plans, file), "utf8"), root)
  })

  it("every program type-checks", () => {
    const { status, stdout } = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--noEmit", "-p", join(root, "pipelines")], { encoding: "utf8" })
    const own = stdout.split("\n").filter((line) => /^(\.\.\/)*pipelines\/|^[^/]+\.ts\(/.test(line))
    assert.deepStrictEqual(own, [])
    if (status !== 0) assert.match(stdout, /packages\//, "tsc failed for a reason of its own")
  })
})
