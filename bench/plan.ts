/**
 * What `hyper plan` of the quickstart costs, beside bare `node -e 0` and beside `tsx` importing the same file, in turns, on one machine.
 *
 *     node bench/plan.ts [--json] [--rounds 15] [--alone] [--without-packs] [--tsx <directory with tsx installed>]
 *
 * tsx is installed by npm into a temporary directory (`--alone` leaves it out). Each round starts every program once; figures are
 * medians. Processor time (user + system, children included) stands beside wall time: it is what a busy machine does not blur.
 * tsx only runs the file: it confines nothing, checks no plan and asks no machine. Aim: `hyper plan` at most 8 times bare node, and no longer
 * for plugins that a pipeline does not name.
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { cpus, loadavg, tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"

const TSX = "4.23.15"

export interface Timing {
  readonly wallMillis: number
  readonly cpuMillis: number
}

export interface PlanFigures {
  /** `node -e 0` */
  readonly node: Timing
  /** the whole command: plan, what is cached, estimates with their probes of this machine */
  readonly hyperPlan: Timing
  /** evaluation and planning alone, no estimates and no pack, from a program of ten lines */
  readonly planFile: Timing
  /** the same with the definitions of all plugins loaded, not only of those that the pipeline names */
  readonly allPlugins: Timing
  /** the confined evaluation alone */
  readonly evaluate: Timing
  readonly tsx?: Timing
  /** of wall time, hyperPlan / node */
  readonly ratio: number
  readonly rounds: number
  readonly load: number
  readonly processors: number
}

const root = resolve(import.meta.dirname, "..")
const quickstart = join(root, "pipelines/quickstart.ts")

const plugins = readdirSync(join(root, "packages/plugins/src")).filter((id) => existsSync(join(root, "packages/plugins/src", id, "plugin.ts")))

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** `times` of the shell: the second line holds what its children used, as `0m0.036s 0m0.012s`. */
const cpuOf = (text: string): number => {
  const line = text.trim().split("\n").at(-1) ?? ""
  return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000, 0)
}

const measure = (command: ReadonlyArray<string>, env: Readonly<Record<string, string | undefined>>): Timing => {
  const start = performance.now()
  const done = spawnSync("/bin/sh", ["-c", '"$@" >/dev/null || exit 9; times', "sh", ...command], { cwd: root, env, encoding: "utf8" })
  const wallMillis = performance.now() - start
  if (done.status !== 0) throw new Error(`${command.slice(0, 4).join(" ")} failed: ${done.stderr}`)
  return { wallMillis, cpuMillis: cpuOf(done.stdout) }
}

const middle = (timings: ReadonlyArray<Timing>): Timing => ({ wallMillis: median(timings.map((t) => t.wallMillis)), cpuMillis: median(timings.map((t) => t.cpuMillis)) })

const program = (imports: string, call: string): string => `import module from "node:module"\nmodule.enableCompileCache()\n${imports}\nconst result = await ${call}\nif (result.ok === false) { console.error(result); process.exitCode = 1 }\n`

export const measurePlan = (options: { readonly rounds?: number; readonly tsx?: string | false; readonly packs?: boolean } = {}): PlanFigures => {
  const rounds = options.rounds ?? 15
  const work = mkdtempSync(join(tmpdir(), "hyper-bench-plan-"))
  // where `@hypernode/engine` is found; removed again below
  const programs = mkdtempSync(join(root, "bench/.plan-"))
  try {
    writeFileSync(join(programs, "planFile.mjs"), program(`const [Effect, { planFile }] = await Promise.all([import("effect/Effect"), import("@hypernode/engine/plan/planFile")])`, `Effect.runPromise(planFile(${JSON.stringify(quickstart)}, { estimate: false, cacheDirectory: ${JSON.stringify(join(work, "cache"))} }))`))
    writeFileSync(join(programs, "allPlugins.mjs"), program(`const [Effect, { planFile }] = await Promise.all([import("effect/Effect"), import("@hypernode/engine/plan/planFile"), ...${JSON.stringify(plugins)}.map((id) => import(\`@hypernode/plugins/\${id}/plugin\`))])`, `Effect.runPromise(planFile(${JSON.stringify(quickstart)}, { estimate: false, cacheDirectory: ${JSON.stringify(join(work, "cache"))} }))`))
    writeFileSync(join(programs, "evaluate.mjs"), program(`const { evaluate } = await import("@hypernode/engine/plan/evaluate")`, `evaluate(${JSON.stringify(quickstart)}, { cacheDirectory: ${JSON.stringify(join(work, "cache"))} })`))
    let tsx = typeof options.tsx === "string" ? join(options.tsx, "node_modules/tsx/dist/cli.mjs") : undefined
    if (options.tsx === undefined) {
      const { status } = spawnSync("npm", ["install", "--prefix", work, "--no-audit", "--no-fund", "--loglevel=error", `tsx@${TSX}`], { stdio: ["ignore", "ignore", "inherit"] })
      if (status === 0) tsx = join(work, "node_modules/tsx/dist/cli.mjs")
    }
    const env = { ...process.env, HYPER_HOME: join(work, "home"), HYPER_CACHE: join(work, "cache"), NODE_COMPILE_CACHE: undefined, TMPDIR: work }
    const commands: Readonly<Record<string, ReadonlyArray<string>>> = {
      node: [process.execPath, "-e", "0"],
      hyperPlan: [process.execPath, join(root, "packages/cli/bin/hyper.js"), "plan", quickstart],
      planFile: [process.execPath, join(programs, "planFile.mjs")],
      allPlugins: [process.execPath, join(programs, "allPlugins.mjs")],
      evaluate: [process.execPath, join(programs, "evaluate.mjs")],
      ...(tsx !== undefined && existsSync(tsx) ? { tsx: [process.execPath, tsx, quickstart] } : {})
    }
    // as after the first run: a daemon makes the packs when it is idle
    if (options.packs !== false) measure([process.execPath, "--experimental-import-meta-resolve", "--no-warnings", join(root, "packages/cli/src/pack/build.ts"), join(work, "cache"), "plan"], env)
    for (const command of Object.values(commands)) measure(command, env)
    const all: Record<string, Array<Timing>> = {}
    for (let i = 0; i < rounds; i++) for (const [name, command] of Object.entries(commands)) (all[name] ??= []).push(measure(command, env))
    const of = (name: string): Timing => middle(all[name]!)
    return {
      node: of("node"),
      hyperPlan: of("hyperPlan"),
      planFile: of("planFile"),
      allPlugins: of("allPlugins"),
      evaluate: of("evaluate"),
      ...(all["tsx"] === undefined ? {} : { tsx: of("tsx") }),
      ratio: of("hyperPlan").wallMillis / of("node").wallMillis,
      rounds,
      load: loadavg()[0]!,
      processors: cpus().length
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
    rmSync(programs, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean" }, rounds: { type: "string" }, alone: { type: "boolean" }, "without-packs": { type: "boolean" }, tsx: { type: "string" } } })
  const figures = measurePlan({ packs: values["without-packs"] !== true, ...(values.rounds === undefined ? {} : { rounds: Number(values.rounds) }), ...(values.alone === true ? { tsx: false as const } : values.tsx === undefined ? {} : { tsx: values.tsx }) })
  if (values.json === true) console.log(JSON.stringify(figures))
  else {
    const line = (name: string, t: Timing | undefined): string =>
      t === undefined ? `${name.padEnd(36)} not measured` : `${name.padEnd(36)} ${t.wallMillis.toFixed(0).padStart(6)} ms wall ${(t.wallMillis / figures.node.wallMillis).toFixed(1).padStart(6)} x   ${t.cpuMillis.toFixed(0).padStart(6)} ms processor`
    console.log(`plan: medians of ${figures.rounds} rounds in turns; ${figures.processors} processors, load ${figures.load.toFixed(1)}`)
    for (const [name, timing] of [["node -e 0", figures.node], ["hyper plan pipelines/quickstart.ts", figures.hyperPlan], ["  evaluated, planned, without a pack", figures.planFile], [`  the same, all ${plugins.length} plugins loaded`, figures.allPlugins], ["  evaluated, confined", figures.evaluate], [`tsx ${TSX} pipelines/quickstart.ts`, figures.tsx]] as const) console.log(line(name, timing))
    console.log(`hyper plan is ${figures.ratio.toFixed(1)} times bare node (aim: at most 8)${figures.tsx === undefined ? "" : `, ${(figures.hyperPlan.wallMillis / figures.tsx.wallMillis).toFixed(2)} of tsx`}`)
  }
}
