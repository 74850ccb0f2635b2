/**
 * From the command to "first stage started": `hyper run` of the quickstart with the daemon cold (after the first ever run) and warm, on a
 * home and a cache of its own, removed again. Medians; each run is cancelled as soon as its first stage has started.
 *
 *     node bench/first-stage.ts [--rounds 5] [--without-packs]
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { loadavg, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"

const root = resolve(import.meta.dirname, "..")
const program = join(root, "packages/cli/bin/hyper.js")
const box = mkdtempSync(join(tmpdir(), "hy-stage-"))
const cache = join(box, "cache")
const env = { ...process.env, HYPER_HOME: join(box, "home"), HYPER_CACHE: cache, NODE_COMPILE_CACHE: undefined }

const hyper = (...args: ReadonlyArray<string>): void => {
  const { status, stderr } = spawnSync(process.execPath, [program, ...args], { cwd: root, env, encoding: "utf8" })
  if (status !== 0) throw new Error(`hyper ${args.join(" ")} ended with ${status}: ${stderr}`)
}

/** Milliseconds to the line that says that the first stage has started (or was found in the cache). */
const toFirstStage = (): Promise<number> =>
  new Promise((done, failed) => {
    const started = performance.now()
    const child = spawn(process.execPath, [program, "run", "pipelines/quickstart.ts", "--json", "--on-interrupt", "cancel"], { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] })
    let millis: number | undefined
    let text = ""
    const read = (chunk: Buffer): void => {
      text += chunk.toString()
      if (millis !== undefined || !/"_tag":"(?:StepStarted|StepCached)"/.test(text)) return
      millis = performance.now() - started
      child.kill("SIGINT")
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    child.once("close", () => (millis === undefined ? failed(new Error(`no stage started:\n${text.slice(-2_000)}`)) : done(millis)))
  })

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
const row = (what: string, values: ReadonlyArray<number>, aim: string): void => {
  process.stdout.write(`${what.padEnd(28)} ${(median(values) / 1000).toFixed(2)} s  (${values.map((v) => (v / 1000).toFixed(2)).join(", ")})  ${aim}\n`)
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" }, "without-packs": { type: "boolean" }, quick: { type: "boolean" }, json: { type: "boolean" } } })
try {
  const first = await toFirstStage()
  hyper("stop")
  // a daemon makes them when it has been idle for ten seconds; here it never is
  if (values["without-packs"] !== true) spawnSync(process.execPath, ["--experimental-import-meta-resolve", "--no-warnings", join(root, "packages/cli/src/pack/build.ts"), cache], { cwd: root, stdio: ["ignore", "ignore", "inherit"] })
  const cold: Array<number> = []
  const warm: Array<number> = []
  // one round beforehand: what is compiled is kept when a process ends
  for (let round = -1; round < (values.quick === true ? 2 : Number(values.rounds)); round++) {
    const atCold = await toFirstStage()
    const atWarm = await toFirstStage()
    hyper("stop")
    if (round >= 0) {
      cold.push(atCold)
      warm.push(atWarm)
    }
  }
  process.stdout.write(`hyper run to its first stage: ${cold.length} rounds, load ${loadavg()[0]!.toFixed(1)}\n`)
  row("first ever", [first], "makes the database")
  row("daemon cold", cold, "aim < 1.5 s")
  row("daemon warm", warm, "aim < 0.3 s")
} finally {
  spawnSync(process.execPath, [program, "stop"], { cwd: root, env, stdio: "ignore" })
  rmSync(box, { recursive: true, force: true })
}
