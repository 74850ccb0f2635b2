import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { symlinkSync, unlinkSync } from "node:fs"
import { dirname, join } from "node:path"
import { planFile } from "../../src/plan/planFile.ts"
import { load, loadPlugin } from "../../src/plugin/Registry.ts"
import { CHAIN, directory, file, PLUGINS, project, write } from "../plan/project.ts"

const NPM_INDEX = `export const tidy = (options = {}) => ({ kind: "select", plugin: { id: "tidy", specifier: "my-hyper-plugin" }, options })\n`
const npmPlugin = (answer: number): string => `import { note } from "./note.js"
import * as Schema from "effect/Schema"
import * as Effect from "effect/Effect"
import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
export default definePlugin({ id: "tidy", version: "2.0.0", stages: { select: stage({ kind: "select", effect: "pure", options: Schema.Struct({}), body: { run: () => Effect.succeed({ note, answer: ${answer} }) } }) } })
`

/** A package as npm installs it: JavaScript under node_modules, with effect and the engine beside it. */
const withPackage = (exported: unknown): string => {
  const at = write(directory(), {
    "package.json": "{}",
    "pipeline.ts": `import { pipeline } from "@hypernode/engine"\nimport { tidy } from "my-hyper-plugin"\nexport default pipeline("npm", (p) => { p.select(tidy()) })\n`,
    "node_modules/my-hyper-plugin/package.json": JSON.stringify({ name: "my-hyper-plugin", version: "2.0.0", type: "module", exports: exported }),
    "node_modules/my-hyper-plugin/index.js": NPM_INDEX,
    "node_modules/my-hyper-plugin/plugin.js": npmPlugin(1),
    "node_modules/my-hyper-plugin/note.js": "export const note = 'n'\n"
  })
  const engine = join(import.meta.dirname, "../..")
  write(at, { "node_modules/@hypernode/.keep": "" })
  symlinkSync(engine, join(at, "node_modules/@hypernode/engine"))
  symlinkSync(join(engine, "../../node_modules/effect"), join(at, "node_modules/effect"))
  return at
}

const expectError = (path: string, step = 0) =>
  Effect.gen(function*() {
    const { plan, projectDirectory } = yield* planFile(path)
    return { plan, projectDirectory, again: () => Effect.flip(load(plan.steps[step]!, projectDirectory)) }
  })

describe("Registry", () => {
  it.effect("loads a planned step's definition and decodes its options", () =>
    Effect.gen(function*() {
      const { plan, projectDirectory } = yield* planFile(project(file(CHAIN)))
      const { definition, options } = yield* load(plan.steps[3]!, projectDirectory)
      assert.strictEqual(definition.kind, "train")
      assert.deepStrictEqual(options, { method: "lora", epochs: 1, lr: 2e-4, token: { $secret: "HF_TOKEN" } })
    }))

  it.effect("refuses a plugin file that changed since the plan was made, and loads the new one for a new plan", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const { again, plan } = yield* expectError(path)
      write(dirname(path), { "plugins.ts": PLUGINS.replace(`version: "1.2.3"`, `version: "1.2.4"`) })
      const error = yield* again()
      assert.strictEqual(error.reason, "Corrupt")
      assert.match(error.message, /plugin every \(\.\/plugins\.ts\) changed since this plan was made/)
      assert.match(error.remedy ?? "", /run hyper plan again/)
      const next = yield* planFile(path)
      assert.strictEqual(next.plan.steps[0]!.plugin.version, "1.2.4")
      assert.notStrictEqual(next.plan.steps[0]!.plugin.sourceDigest, plan.steps[0]!.plugin.sourceDigest)
      yield* load(next.plan.steps[0]!, next.projectDirectory)
    }))

  it.effect("counts what a plugin file imports by relative path as its source", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      write(dirname(path), { "plugins.ts": `import { size } from "./size.ts"\nvoid size\n${PLUGINS}`, "size.ts": "export const size = 1\n" })
      const { again } = yield* expectError(path)
      write(dirname(path), { "size.ts": "export const size = 2\n" })
      assert.match((yield* again()).message, /changed since this plan was made/)
      // a file that it does not import is not its source
      write(dirname(path), { "size.ts": "export const size = 1\n", "other.ts": "export const other = 1\n" })
      const { plan, projectDirectory } = yield* planFile(path)
      write(dirname(path), { "other.ts": "export const other = 2\n" })
      yield* load(plan.steps[0]!, projectDirectory)
    }))

  it.effect("loads a plugin of an npm package from the pipeline's project", () =>
    Effect.gen(function*() {
      for (const exported of [{ ".": "./index.js", "./plugin": "./plugin.js" }, { ".": "./index.js", "./plugin": { types: "./plugin.d.ts", import: "./plugin.js" } }]) {
        const at = withPackage(exported)
        const { again, plan, projectDirectory } = yield* expectError(join(at, "pipeline.ts"))
        assert.deepInclude(plan.steps[0]!.plugin, { id: "tidy", specifier: "my-hyper-plugin", version: "2.0.0" })
        const { definition } = yield* load(plan.steps[0]!, projectDirectory)
        assert.isTrue("run" in definition.body)
        write(at, { "node_modules/my-hyper-plugin/note.js": "export const note = 'changed'\n" })
        assert.match((yield* again()).message, /plugin tidy \(my-hyper-plugin\) changed since this plan was made/)
      }
    }))

  it.effect("says what to install where a plugin is gone", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const { again, plan, projectDirectory } = yield* expectError(path)
      unlinkSync(join(dirname(path), "plugins.ts"))
      assert.match((yield* again()).message, /the plugin file .*plugins\.ts is not there/)
      const other = { ...plan.steps[0]!, plugin: { ...plan.steps[0]!.plugin, specifier: "my-hyper-plugin" } }
      const error = yield* Effect.flip(load(other, projectDirectory))
      assert.match(error.message, /no module my-hyper-plugin\/plugin can be found/)
      assert.match(error.remedy ?? "", /npm install my-hyper-plugin/)
    }))

  it.effect("loads only what its operator allows", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const refused = yield* Effect.flip(planFile(path, { allow: ["@hypernode/plugins"] }))
      assert.match(refused.message, /this server does not load the plugin \.\/plugins\.ts/)
      yield* planFile(path, { allow: ["@hypernode/plugins", "./"] })
      const { plan, projectDirectory } = yield* planFile(path)
      assert.strictEqual((yield* Effect.flip(load(plan.steps[0]!, projectDirectory, { allow: [] }))).reason, "Denied")
    }))

  it("refuses a module that is no plugin, another contract, and one that does not load", async () => {
    const at = write(directory(), {
      "none.ts": "export default 1\n",
      "future.ts": `export default { id: "future", version: "1", contractVersion: 99, stages: {} }\n`,
      "broken.ts": `import "nothing-of-that-name"\nexport default {}\n`
    })
    const problem = (specifier: string) => loadPlugin(specifier, at).then(() => "loaded", (error: Error) => error.message)
    assert.match(await problem("./none.ts"), /no plugin definition as its default export/)
    assert.match(await problem("./future.ts"), /written for contract 99, this engine has contract 1/)
    assert.match(await problem("./broken.ts"), /could not be loaded: Cannot find package 'nothing-of-that-name'/)
    assert.match(await problem("@hypernode/plugins/locl"), /there is no plugin @hypernode\/plugins\/locl/)
  })
})
