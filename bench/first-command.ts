/**
 * The first command on a fresh clone: seconds and megabytes a phase, then the second run. Empty caches, empty home; downloads count.
 * Also `hyper run` to its first stage, daemon cold and warm, on a home that has run before.
 */
import { spawn, spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, rmSync, statSync, readdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const repository = resolve(import.meta.dirname, "..")
const box = mkdtempSync(join(tmpdir(), "hy-first-"))
const clone = join(box, "clone")
const env: Record<string, string> = {
  ...(Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith("HYPER_"))) as Record<string, string>),
  XDG_CACHE_HOME: join(box, "cache"),
  PIP_CACHE_DIR: join(box, "cache/pip"),
  npm_config_cache: join(box, "cache/npm"),
  HYPER_CACHE: join(box, "cache/hyper"),
  HYPER_HOME: join(box, "home")
}

const megabytes = (path: string): number => {
  let total = 0
  const add = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const file = join(at, entry.name)
      if (entry.isDirectory()) add(file)
      else if (entry.isFile()) total += statSync(file).size
    }
  }
  try {
    add(path)
  } catch {
    // not made yet
  }
  return total / 1e6
}

const row = (what: string, seconds: number, note = ""): void => { process.stdout.write(`${what.padEnd(34)} ${seconds.toFixed(2).padStart(8)} s  ${note}\n`) }

interface Line {
  readonly at: number
  readonly text: string
}
/** Runs `hyper`, with the moment of each line it prints. */
const hyper = (args: ReadonlyArray<string>): Promise<{ readonly seconds: number; readonly code: number | null; readonly lines: ReadonlyArray<Line> }> =>
  new Promise((done) => {
    const started = performance.now()
    const lines: Array<Line> = []
    const child = spawn("npx", ["hyper", ...args], { cwd: clone, env, stdio: ["ignore", "pipe", "inherit"] })
    let buffer = ""
    child.stdout.on("data", (chunk: Buffer) => {
      buffer += chunk.toString()
      for (let end = buffer.indexOf("\n"); end >= 0; end = buffer.indexOf("\n")) {
        lines.push({ at: (performance.now() - started) / 1000, text: buffer.slice(0, end) })
        buffer = buffer.slice(end + 1)
      }
    })
    child.once("close", (code) => done({ seconds: (performance.now() - started) / 1000, code, lines }))
  })

interface Event {
  readonly type: string
  readonly at: number
  readonly event: { readonly _tag: string; readonly step?: string; readonly label?: string }
}
const eventsOf = (lines: ReadonlyArray<Line>): ReadonlyArray<Event> => lines.filter((l) => l.text.startsWith(`{"type":"event"`)).map((l) => JSON.parse(l.text) as Event)
const firstStage = (lines: ReadonlyArray<Line>): number => lines.find((l) => /"_tag":"(StepStarted|StepCached)"/.test(l.text))?.at ?? Number.NaN

try {
  // without git, from the working tree: what is measured is the code as it stands
  const tracked = spawnSync("git", ["ls-files", "-z", "-co", "--exclude-standard"], { cwd: repository, encoding: "utf8" }).stdout.split("\0").filter((f) => f !== "")
  for (const file of tracked) cpSync(join(repository, file), join(clone, file), { recursive: true })

  let started = performance.now()
  if (spawnSync("npm", ["ci"], { cwd: clone, env, stdio: ["ignore", "ignore", "inherit"] }).status !== 0) throw new Error("npm ci failed")
  row("npm ci", (performance.now() - started) / 1000, `${megabytes(join(clone, "node_modules")).toFixed(0)} MB in node_modules`)

  const first = await hyper(["run", "pipelines/quickstart.ts", "--json"])
  if (first.code !== 0) throw new Error(`the first run ended with ${first.code}`)
  const events = eventsOf(first.lines)
  for (const step of ["select", "encrypt", "shard", "train", "checkpoint", "package", "serve", "reward"]) {
    const start = events.find((e) => e.event._tag === "StepStarted" && e.event.step === step)
    const end = events.find((e) => e.event._tag === "StepEnded" && e.event.step === step)
    const job = events.find((e) => e.event._tag === "StepJobStarted" && e.event.step === step)
    if (start === undefined || end === undefined) continue
    if (job !== undefined) {
      row("  environment (downloads)", (job.at - start.at) / 1000, `${megabytes(join(box, "cache/hyper/python")).toFixed(0)} MB in the cache`)
      row(`  ${step}`, (end.at - job.at) / 1000)
    } else row(`  ${step}`, (end.at - start.at) / 1000)
  }
  row("first hyper run", first.seconds, `home ${megabytes(join(box, "home")).toFixed(0)} MB`)
  const second = await hyper(["run", "pipelines/quickstart.ts", "--json"])
  row("second run (cached)", second.seconds, `exit ${second.code}; aim < 5 s`)
  row("first stage, daemon warm", firstStage(second.lines), "npx included; aim < 0.3 s")
  // idle for ten seconds, the daemon makes the packs that the next start loads from
  await sleep(25_000)
  spawnSync("npx", ["hyper", "stop"], { cwd: clone, env, stdio: "ignore" })
  const cold = await hyper(["run", "pipelines/quickstart.ts", "--json"])
  row("first stage, daemon cold", firstStage(cold.lines), "npx included; aim < 1.5 s")
  started = performance.now()
  spawnSync("npx", ["hyper", "--version"], { cwd: clone, env, stdio: "ignore" })
  row("npx hyper --version", (performance.now() - started) / 1000, "what of these is npx and Node")
} finally {
  spawnSync("npx", ["hyper", "stop"], { cwd: clone, env, stdio: "ignore" })
  rmSync(box, { recursive: true, force: true })
}
