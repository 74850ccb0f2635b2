/**
 * What a durable step costs, beside the disk's own `fdatasync`, DBOS and Restate, on one machine and in turns.
 *
 *     node bench/durable-step.ts [--json] [--rounds 3 | --quick] [--alone] [--peers <directory with their packages>]
 *
 * The peers are installed by npm into a temporary directory (versions below; `--alone` leaves them out, `--peers` keeps the directory).
 * DBOS gets a private PostgreSQL of its own with the very binaries and settings of ours; Restate its own server. Each runs workflows of
 * trivial steps in a process of its own; a figure is the median over the rounds, from start to result.
 * Where other programs want the processors too, every hand-over between processes may wait for the scheduler's tick (4 ms at 250 Hz),
 * and so do the figures: `load` says how it was, and `chrt -r 1 node bench/durable-step.ts` (as root) keeps the others away.
 * Aims: at most 1 ms a step over fdatasync in workflows of 10 and of 500 steps, flat in finished steps, at least 1,000 steps/s over 16 and
 * 64 runs, faster than both.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { copyFileSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, closeSync, existsSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { createServer } from "node:net"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface, type Interface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const peerVersions = { "@dbos-inc/dbos-sdk": "5.3.0", "@restatedev/restate-sdk": "1.17.2", "@restatedev/restate-server": "1.7.12" }

export interface StepFigures {
  /** milliseconds a step, one workflow of 10 steps, its start and result included */
  readonly ten: number
  /** milliseconds a step, one workflow of 500 steps */
  readonly fiveHundred: number
  /** milliseconds for each step beyond the tenth: what a step costs without start and result */
  readonly marginal: number
  /** steps a second over 16 and 64 workflows of 20 steps at once */
  readonly sixteen: number
  readonly sixtyFour: number
}

export interface DurableStepFigures {
  readonly fdatasyncMillis: number
  readonly hyper: StepFigures
  readonly dbos?: StepFigures
  readonly restate?: StepFigures
  readonly load: number
  readonly processors: number
}

const here = fileURLToPath(new URL("durable-step/", import.meta.url))
const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

/** What PostgreSQL does at a commit: a page written at the end of a log of fixed size, then fdatasync. */
const fdatasync = (directory: string): number => {
  const file = openSync(join(directory, "sync"), "w")
  const page = Buffer.alloc(8192, 1)
  for (let i = 0; i < 400; i++) writeSync(file, page, 0, page.length, i * page.length)
  fdatasyncSync(file)
  const times = Array.from({ length: 200 }, (_, i) => {
    const from = performance.now()
    writeSync(file, page, 0, page.length, i * page.length)
    fdatasyncSync(file)
    return performance.now() - from
  })
  closeSync(file)
  // the mean, because a run of 500 steps is a sum
  return times.reduce((sum, time) => sum + time) / times.length
}

interface Contender {
  readonly name: "hyper" | "dbos" | "restate"
  readonly ask: (steps: number, runs: number) => Promise<number>
}

const started: Array<ChildProcess> = []

const launch = (command: string, args: ReadonlyArray<string>, options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly quiet?: boolean } = {}): ChildProcess => {
  const child = spawn(command, args, { stdio: ["pipe", options.quiet === true ? "ignore" : "pipe", options.quiet === true ? "ignore" : "inherit"], cwd: options.cwd, env: { ...process.env, ...options.env } })
  started.push(child)
  return child
}

const ended = (child: ChildProcess): Promise<void> => (child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : new Promise((resolve) => child.once("exit", () => resolve())))

const lineReader = (child: ChildProcess) => {
  const lines: Interface = createInterface({ input: child.stdout! })
  const iterator = lines[Symbol.asyncIterator]()
  return async (): Promise<string> => {
    const next = await iterator.next()
    if (next.done === true) throw new Error(`${child.spawnargs.join(" ")} ended early`)
    return next.value
  }
}

const contender = async (name: Contender["name"], child: ChildProcess): Promise<Contender> => {
  const line = lineReader(child)
  while ((await line()) !== "ready") continue
  return {
    name,
    ask: async (steps, runs) => {
      child.stdin!.write(`${JSON.stringify({ steps, runs })}\n`)
      for (;;) {
        // a peer's own log goes to standard output too
        const answer = await line()
        if (answer.startsWith('{"millis"')) return (JSON.parse(answer) as { millis: number }).millis
      }
    }
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const install = (directory: string): void => {
  mkdirSync(directory, { recursive: true })
  if (!existsSync(join(directory, "node_modules"))) {
    writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, type: "module", dependencies: peerVersions }))
    execFileSync("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: directory, stdio: ["ignore", "ignore", "inherit"] })
  }
  for (const file of ["dbos.mjs", "restate.mjs"]) copyFileSync(join(here, file), join(directory, file))
}

const dbos = async (directory: string, base: string): Promise<Contender> => {
  const database = launch(process.execPath, [join(here, "database.ts"), join(base, "dbos")])
  const url = await lineReader(database)()
  return contender("dbos", launch(process.execPath, ["dbos.mjs", url], { cwd: directory, env: { NODE_NO_WARNINGS: "1" } }))
}

const restate = async (directory: string, base: string): Promise<Contender> => {
  const [service, ingress, admin, node] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  launch(join(directory, "node_modules/.bin/restate-server"), ["--base-dir", join(base, "restate"), "--node-name", "bench", "--log-filter", "error"], {
    quiet: true,
    env: {
      RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
      RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
      RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${node}`,
      RESTATE_DISABLE_TELEMETRY: "true",
      DO_NOT_TRACK: "1"
    }
  })
  for (let tries = 0; ; tries++) {
    const up = await fetch(`http://127.0.0.1:${admin}/health`).then((response) => response.ok, () => false)
    if (up) break
    if (tries > 300) throw new Error("restate-server does not answer")
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return contender("restate", launch(process.execPath, ["restate.mjs", String(service), `http://127.0.0.1:${ingress}`, `http://127.0.0.1:${admin}`], { cwd: directory, env: { RESTATE_LOGGING: "ERROR" } }))
}

const figures = (samples: Readonly<Record<string, ReadonlyArray<number>>>): StepFigures => {
  const of = (name: string): number => median(samples[name]!)
  return { ten: of("10x1") / 10, fiveHundred: of("500x1") / 500, marginal: (of("500x1") - of("10x1")) / 490, sixteen: (16 * 20_000) / of("20x16"), sixtyFour: (64 * 20_000) / of("20x64") }
}

export const durableStep = async (options: { readonly rounds?: number; readonly alone?: boolean; readonly peers?: string } = {}): Promise<DurableStepFigures> => {
  const base = mkdtempSync(join(tmpdir(), "hb-"))
  // several of the contenders' servers may run as another user
  execFileSync("chmod", ["0711", base])
  try {
    const contenders = [await contender("hyper", launch(process.execPath, [join(here, "hyper.ts"), join(base, "hyper")]))]
    if (options.alone !== true) {
      const directory = options.peers ?? join(base, "peers")
      install(directory)
      contenders.push(await dbos(directory, base), await restate(directory, base))
    }
    const samples = new Map(contenders.map(({ name }) => [name, {} as Record<string, Array<number>>]))
    const syncs: Array<number> = []
    for (const { ask } of contenders) {
      await ask(50, 1)
      await ask(20, 16)
    }
    for (let round = 0; round < (options.rounds ?? 3); round++) {
      for (const [steps, runs, times] of [[10, 1, 10], [500, 1, 2], [20, 16, 4], [20, 64, 3]] as const) {
        // in turns, so that what else the machine does falls on all of them
        for (let i = 0; i < times; i++) {
          if (steps === 500) syncs.push(fdatasync(base))
          for (const { ask, name } of contenders) {
            const own = samples.get(name)!
            const list = (own[`${steps}x${runs}`] ??= [])
            list.push(await ask(steps, runs))
          }
        }
      }
    }
    const result = (name: Contender["name"]) => (samples.has(name) ? { [name]: figures(samples.get(name)!) } : {})
    return { fdatasyncMillis: median(syncs), ...result("hyper"), ...result("dbos"), ...result("restate"), load: loadavg()[0]!, processors: cpus().length } as DurableStepFigures
  } finally {
    for (const child of started) child.stdin?.end()
    for (const child of started.toReversed()) {
      const patience = setTimeout(() => child.kill("SIGTERM"), child.stdout === null ? 0 : 15_000)
      const last = setTimeout(() => child.kill("SIGKILL"), 30_000)
      await ended(child)
      clearTimeout(patience)
      clearTimeout(last)
    }
    rmSync(base, { recursive: true, force: true })
  }
}

const print = ({ dbos, fdatasyncMillis, hyper, load, processors, restate }: DurableStepFigures): void => {
  const number = (value: number, digits: number) => value.toFixed(digits).padStart(9)
  console.log(`a durable step (${processors} processors, load ${load.toFixed(1)}); fdatasync alone: ${fdatasyncMillis.toFixed(2)} ms`)
  console.log("             ms/step    ms/step   ms/step    steps/s   steps/s")
  console.log("            10 steps  500 steps  marginal    16 runs   64 runs")
  for (const [name, row] of Object.entries({ hyper, dbos, restate })) {
    if (row !== undefined) console.log(`${name.padEnd(9)} ${number(row.ten, 2)} ${number(row.fiveHundred, 2)}  ${number(row.marginal, 2)} ${number(row.sixteen, 0)} ${number(row.sixtyFour, 0)}`)
  }
  const over = { ten: hyper.ten - fdatasyncMillis, fiveHundred: hyper.fiveHundred - fdatasyncMillis }
  const peers = [dbos, restate].filter((row) => row !== undefined)
  const verdict = (text: string, met: boolean) => console.log(`  ${met ? "met   " : "MISSED"} ${text}`)
  verdict(`at most 1 ms a step over fdatasync: ${over.ten.toFixed(2)} ms of 10 steps, ${over.fiveHundred.toFixed(2)} ms of 500, start and result included`, over.ten <= 1 && over.fiveHundred <= 1)
  verdict(`flat in finished steps: ${(hyper.fiveHundred / hyper.ten).toFixed(2)} x from 10 to 500`, hyper.fiveHundred <= hyper.ten * 1.2)
  verdict(`at least 1,000 steps/s over 16 and 64 runs: ${hyper.sixteen.toFixed(0)}, ${hyper.sixtyFour.toFixed(0)}`, hyper.sixteen >= 1000 && hyper.sixtyFour >= 1000)
  if (peers.length > 0) verdict("faster than both peers in every column", peers.every((row) => hyper.ten < row.ten && hyper.fiveHundred < row.fiveHundred && hyper.sixteen > row.sixteen && hyper.sixtyFour > row.sixtyFour))
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean" }, rounds: { type: "string" }, quick: { type: "boolean" }, alone: { type: "boolean" }, peers: { type: "string" } } })
  const result = await durableStep({ rounds: Number(values.rounds ?? (values.quick === true ? 1 : 3)), alone: values.alone === true, ...(values.peers === undefined ? {} : { peers: values.peers }) })
  if (values.json === true) console.log(JSON.stringify(result))
  else print(result)
}
