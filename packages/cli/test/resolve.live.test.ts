/** The short cuts of bin/resolve.js lead where Node itself leads: every module of a plan and of the daemon, once, in the same format. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, describe, expect, it } from "vitest"

const cli = resolve(import.meta.dirname, "..")
const shortCuts = pathToFileURL(join(cli, "bin/resolve.js")).href
const work = mkdtempSync(join(tmpdir(), "hyper-resolve-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** Prints `format url` of every module that importing `entries` loads. `before`: modules loaded first. */
const modulesOf = (before: ReadonlyArray<string>, entries: ReadonlyArray<string>): ReadonlyArray<string> => {
  const program = join(work, "modules.mjs")
  writeFileSync(program, `
    import { registerHooks } from "node:module"
    const seen = []
    registerHooks({ load: (url, context, next) => { const loaded = next(url, context); seen.push(loaded.format + " " + url); return loaded } })
    for (const entry of ${JSON.stringify(entries)}) await import(entry)
    console.log(JSON.stringify(seen))
  `)
  const { status, stderr, stdout } = spawnSync(process.execPath, [...before.flatMap((url) => ["--import", url]), program], { encoding: "utf8" })
  if (status !== 0) throw new Error(stderr)
  return (JSON.parse(stdout) as ReadonlyArray<string>).toSorted()
}

const entries = ["src/plan/planView.ts", "src/daemon/layers.ts", "src/commands/run.ts"].map((file) => pathToFileURL(join(cli, file)).href)

describe("bin/resolve.js", () => {
  it("loads what Node loads", { timeout: 120_000 }, () => {
    const plain = modulesOf([], entries)
    expect(plain.length).toBeGreaterThan(200)
    expect(modulesOf([shortCuts], entries)).toEqual(plain)
  })

  it("a wrong turn would be seen", { timeout: 120_000 }, () => {
    const planted = join(work, "planted.mjs")
    writeFileSync(planted, `
      import { registerHooks } from "node:module"
      registerHooks({ resolve: (specifier, context, next) => { const found = next(specifier, context); return specifier === "./words.ts" ? { ...found, url: found.url + "?other" } : found } })
    `)
    expect(modulesOf([pathToFileURL(planted).href], [entries[2]!])).not.toEqual(modulesOf([], [entries[2]!]))
  })
})
