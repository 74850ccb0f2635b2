/** Packs: what comes from one is what comes without, and one that is not exactly right is not used. */
import { spawnSync } from "node:child_process"
import { appendFileSync, chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { currentPack, packPath, stampOf } from "../bin/pack.js"
import { Hyper, repository } from "./Hyper.ts"

const work = mkdtempSync(join(tmpdir(), "hyper-packs-"))
const built = join(work, "built")
const cli = join(repository, "packages/cli")
const custom = join(repository, "pipelines/custom-plugin/pipeline.ts")

const build = (cache: string, ...names: ReadonlyArray<string>) =>
  spawnSync(process.execPath, ["--experimental-import-meta-resolve", "--no-warnings", join(cli, "src/pack/build.ts"), cache, ...names], { encoding: "utf8" })

beforeAll(() => {
  const { status, stderr } = build(built)
  if (status !== 0) throw new Error(stderr)
}, 120_000)
afterAll(() => rmSync(work, { recursive: true, force: true }))

let cache: string
/** A copy of what was built, to spoil. */
beforeEach(() => {
  cache = mkdtempSync(join(work, "c-"))
  mkdirSync(join(cache, "packs"), { mode: 0o700 })
  for (const name of ["plan", "daemon"]) for (const end of [".json", ".mjs"]) copyFileSync(`${packPath(built, name)}${end}`, `${packPath(cache, name)}${end}`)
})

/** The plan as JSON, and how many modules were loaded from files. */
const plan = (pipeline: string, hyperCache: string) => {
  const counter = join(work, "counter.mjs")
  writeFileSync(counter, `
    import { registerHooks } from "node:module"
    let files = 0
    registerHooks({ load: (url, context, next) => { if (url.startsWith("file:")) files++; return next(url, context) } })
    process.on("exit", () => process.stderr.write("files " + files + "\\n"))
  `)
  const home = join(work, "home")
  const { status, stderr, stdout } = spawnSync(process.execPath, ["--import", pathToFileURL(counter).href, join(cli, "bin/hyper.js"), "plan", pipeline, "--json"], { encoding: "utf8", cwd: repository, env: { ...process.env, HYPER_HOME: home, HYPER_CACHE: hyperCache } })
  expect(status, stderr).toBe(0)
  return { plan: JSON.parse(stdout) as unknown, files: Number(/files (\d+)/.exec(stderr)?.[1]) }
}

describe("packs", () => {
  it("plan as without one, from a sixth of the modules; a plugin beside its pipeline gets the pack's effect", { timeout: 120_000 }, () => {
    for (const pipeline of [join(repository, "pipelines/quickstart.ts"), custom]) {
      const plain = plan(pipeline, join(work, "none"))
      const packed = plan(pipeline, cache)
      expect(packed.plan).toEqual(plain.plan)
      expect(plain.files).toBeGreaterThan(200)
      expect(packed.files).toBeLessThan(80)
    }
  })

  it("carry a daemon, which runs and stops as without", { timeout: 120_000 }, async () => {
    const counter = join(work, "daemonCounter.mjs")
    writeFileSync(counter, `
      import { registerHooks } from "node:module"
      import { writeFileSync } from "node:fs"
      let files = 0
      registerHooks({ load: (url, context, next) => { if (url.startsWith("file:")) files++; return next(url, context) } })
      if (process.argv[1]?.includes("daemon/main")) process.on("exit", () => writeFileSync(${JSON.stringify(join(work, "daemon-files"))}, String(files)))
    `)
    const hyper = new Hyper({ HYPER_CACHE: cache, NODE_OPTIONS: `--import ${pathToFileURL(counter).href}` })
    try {
      const ran = await hyper.run("run", join(cli, "test/pipelines/sealed.ts"), "--json")
      expect(ran.code, ran.stderr).toBe(0)
      expect((await hyper.run("stop")).code).toBe(0)
      // all but what is neither ours nor effect's as modules
      const files = await Hyper.until(() => { try { return Number(readFileSync(join(work, "daemon-files"), "utf8")) || undefined } catch { return undefined } })
      expect(files).toBeLessThan(250)
    } finally {
      expect(await hyper.close()).toEqual([])
    }
  })

  it("are used as they were made", () => {
    expect(currentPack(cache, "plan")).toBe(pathToFileURL(`${packPath(cache, "plan")}.mjs`).href)
    expect(currentPack(cache, "daemon")).toBeDefined()
  })

  it("are not used after a file in them has changed, or has gone", () => {
    const source = join(cache, "source.ts")
    writeFileSync(source, "export const a = 1\n")
    const path = `${packPath(cache, "plan")}.json`
    const manifest = JSON.parse(readFileSync(path, "utf8")) as { readonly digest: string; readonly files: ReadonlyArray<unknown> }
    writeFileSync(path, JSON.stringify({ ...manifest, files: [...manifest.files, stampOf(source)] }), { mode: 0o600 })
    expect(currentPack(cache, "plan")).toBeDefined()
    const { mtimeMs } = statSync(source)
    appendFileSync(source, "// more\n")
    utimesSync(source, mtimeMs / 1000, mtimeMs / 1000)
    expect(currentPack(cache, "plan")).toBeUndefined()
    writeFileSync(source, "export const a = 2\n")
    utimesSync(source, 1, 1)
    expect(currentPack(cache, "plan")).toBeUndefined()
    rmSync(source)
    expect(currentPack(cache, "plan")).toBeUndefined()
  })

  it("depend on every file that they hold and on what says where imports lead", () => {
    const { files } = JSON.parse(readFileSync(`${packPath(cache, "plan")}.json`, "utf8")) as { readonly files: ReadonlyArray<readonly [string, number, number]> }
    const paths = files.map(([path]) => path)
    for (const file of ["packages/cli/src/plan/planView.ts", "packages/plugins/src/torchrun/plugin.ts", "node_modules/effect/dist/Schema.js", "node_modules/effect/package.json", "packages/engine/package.json"]) expect(paths).toContain(join(repository, file))
  })

  it("are not used where a byte is wrong, where others can write, or where they are somebody else's", { timeout: 60_000 }, () => {
    const code = `${packPath(cache, "plan")}.mjs`
    chmodSync(code, 0o666)
    expect(currentPack(cache, "plan")).toBeUndefined()
    chmodSync(code, 0o600)
    expect(currentPack(cache, "plan")).toBeDefined()
    if (process.getuid?.() === 0) {
      chownSync(code, 65534, 65534)
      expect(currentPack(cache, "plan")).toBeUndefined()
      chownSync(code, 0, 0)
    }
    chmodSync(join(cache, "packs"), 0o777)
    expect(currentPack(cache, "plan")).toBeUndefined()
    chmodSync(join(cache, "packs"), 0o700)
    const text = readFileSync(code)
    text[Math.floor(text.length / 2)]! ^= 1
    writeFileSync(code, text)
    expect(currentPack(cache, "plan")).toBeUndefined()
    expect(plan(custom, cache).files).toBeGreaterThan(200)
  })

  it("need no cache that can be written", () => {
    expect(plan(custom, "/dev/null/cache").files).toBeGreaterThan(200)
    expect(build("/dev/null/cache").status).toBe(0)
  })
})
