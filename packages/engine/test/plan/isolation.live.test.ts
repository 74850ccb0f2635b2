/** What needs programs of the machine: bubblewrap around an evaluation, and the TypeScript compiler. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { rmSync, symlinkSync } from "node:fs"
import { dirname, join } from "node:path"
import { planFile } from "../../src/plan/planFile.ts"
import { checkTypes } from "../../src/plan/types.ts"
import { CHAIN, file, project, write } from "./project.ts"

const confines = spawnSync("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"]).status === 0
if (!confines) {
  if (process.env["CI"] === "true") throw new Error("bubblewrap (bwrap) is missing or may not make namespaces")
  console.log("skipped: bubblewrap (bwrap) is missing or may not make namespaces")
}

describe.skipIf(!confines)("isolation: server", () => {
  it.live("gives the same plan", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      assert.strictEqual((yield* planFile(path, { isolation: "server" })).digest, (yield* planFile(path)).digest)
    }))

  it.live("closes what the permission model leaves open: a symbolic link deep in the project", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN, `import { readFileSync } from "node:fs"\nconsole.log("read " + readFileSync(new URL("./deep/out/hostname", import.meta.url), "utf8").length)`))
      write(dirname(path), { "deep/.keep": "" })
      symlinkSync("/etc", join(dirname(path), "deep/out"))
      // the planted fault: on a workstation the link leads out, and we say so
      assert.match((yield* planFile(path)).output, /read \d+/)
      const error = yield* Effect.flip(planFile(path, { isolation: "server" }))
      assert.match(error.message, /ENOENT/)
    }))

  it.live("still ends an endless loop, and all of it", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN, "while (true) {}"))
      const error = yield* Effect.flip(planFile(path, { isolation: "server", cpuSeconds: 2 }))
      assert.strictEqual(error.reason, "Timeout")
      yield* Effect.promise(() => new Promise((done) => setTimeout(done, 200)))
      assert.notInclude(spawnSync("ps", ["-eo", "args"], { encoding: "utf8" }).stdout, path)
    }))
})

describe("checkTypes", () => {
  /** Beside this file, so that the engine's types are found. */
  const beside = (name: string, text: string): string => {
    write(import.meta.dirname, { [name]: text })
    return join(import.meta.dirname, name)
  }
  const uses = `import { pipeline, use } from "@hypernode/engine"
const pick = (options: { readonly parts: number }) => use("select", { id: "x", specifier: "x" }, options)
`
  it.live("passes a file whose types fit, and names the place where they do not", () =>
    Effect.gen(function*() {
      const good = beside("_good.ts", `${uses}export default pipeline("x", (p) => { p.select(pick({ parts: 1 })) })\n`)
      const wrong = beside("_wrong.ts", `${uses}export default pipeline("x", (p) => {\n  p.select(pick({ parts: "1" }))\n})\n`)
      yield* Effect.promise(async () => {
        assert.strictEqual((await checkTypes(good))?.message, undefined)
        const error = await checkTypes(wrong)
        assert.strictEqual(error?.reason, "Types")
        assert.deepInclude(error!.issues[0], { path: "TS2322", line: 4, file: wrong })
        assert.match(error!.message, /_wrong\.ts:4:\d+: TS2322: Type 'string' is not assignable to type 'number'/)
      }).pipe(Effect.ensuring(Effect.sync(() => [good, wrong].forEach((path) => rmSync(path, { force: true })))))
    }))
})
