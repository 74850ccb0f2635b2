import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { planFile } from "../../src/plan/planFile.ts"
import { addStripped, strippedFile } from "../../src/plan/stripped.ts"
import { CHAIN, directory, file, project, write } from "./project.ts"

describe("stripped sources", () => {
  it.effect("change no plan, follow every edit, and are taken from the file when unchanged", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN))
      const cacheDirectory = directory()
      const plain = yield* planFile(path)
      const first = yield* planFile(path, { cacheDirectory })
      const kept = strippedFile(cacheDirectory, dirname(path))
      const files = JSON.parse(readFileSync(kept, "utf8")) as Record<string, { source: string; stripped: string }>
      assert.isTrue(path in files)
      const second = yield* planFile(path, { cacheDirectory })
      assert.deepStrictEqual([first.digest, second.digest], [plain.digest, plain.digest])

      // planted: were the file not read, this would not show
      writeFileSync(kept, JSON.stringify({ ...files, [path]: { ...files[path], stripped: files[path]!.stripped.replace(`"sample"`, `"planted"`) } }))
      assert.strictEqual((yield* planFile(path, { cacheDirectory })).plan.pipeline, "planted")
      write(dirname(path), { "pipeline.ts": file(CHAIN).replace(`"sample"`, `"edited"`) })
      assert.strictEqual((yield* planFile(path, { cacheDirectory })).plan.pipeline, "edited")
      assert.strictEqual((yield* planFile(path, { cacheDirectory })).plan.pipeline, "edited")
    }))

  it.effect("keep lines and columns where they were", () =>
    Effect.gen(function*() {
      const path = project(file(CHAIN, "type Much = { readonly a: number }\nconst home: string = process.env.HOME"))
      const cacheDirectory = directory()
      const first = yield* Effect.flip(planFile(path, { cacheDirectory }))
      const second = yield* Effect.flip(planFile(path, { cacheDirectory }))
      assert.deepStrictEqual(second.issues, first.issues)
      assert.strictEqual(first.issues[0]!.line, 4)
    }))

  it("are made only of files that the evaluation may read, whatever it says", () => {
    const at = write(directory(), { "project/ok.ts": "export const a: number = 1", "project/bad.ts": "const = 1", "secret/key.ts": "export const key: string = 'k'" })
    symlinkSync(join(at, "secret/key.ts"), join(at, "project/link.ts"))
    const kept = join(at, "cache/kept.json")
    addStripped(kept, [join(at, "project/ok.ts"), join(at, "project/bad.ts"), join(at, "project/link.ts"), join(at, "secret/key.ts"), join(at, "project/../secret/key.ts"), "/etc/passwd", 5 as never], [join(at, "project")])
    assert.isTrue(existsSync(kept))
    assert.deepStrictEqual(Object.keys(JSON.parse(readFileSync(kept, "utf8")) as object), [join(at, "project/ok.ts")])
  })

  it.effect("cannot be written by a pipeline file", () =>
    Effect.gen(function*() {
      const cacheDirectory = directory()
      const path = project(file(CHAIN))
      yield* planFile(path, { cacheDirectory })
      const kept = strippedFile(cacheDirectory, dirname(path))
      const before = readFileSync(kept, "utf8")
      write(dirname(path), { "pipeline.ts": file(CHAIN, `import { writeFileSync } from "node:fs"\nwriteFileSync(${JSON.stringify(kept)}, "{}")`) })
      assert.match((yield* Effect.flip(planFile(path, { cacheDirectory }))).message, /cannot write a file/)
      assert.include(readFileSync(kept, "utf8"), Object.keys(JSON.parse(before) as object)[0]!)
    }))
})
