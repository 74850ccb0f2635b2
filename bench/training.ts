/**
 * What the platform costs a training: the same trainer, model, data, options and seed, through the platform's job path (lease, sandbox,
 * supervisor, signed telemetry, its ingestion into SQL) and bare (torchrun as a plain child process), on one machine.
 *
 *     HYPER_PYTHON=... node bench/training.ts [--json] [--quick] [--launches 6] [--pairs 6] [--seconds 1.5] [--slots 2]
 *
 * Both are started, and take turns of a few seconds, the other one stopped (SIGSTOP) meanwhile: start-up counts nowhere, and what else
 * the machine does falls on neighbouring turns alike. Which goes first alternates. Each pair of turns gives two ratios, platform to
 * bare: tokens a second of wall time, by the trainer's own progress lines, and processor time a token, of all processes concerned (the
 * ranks and their launcher; for the platform also bubblewrap, the supervisor, this process as the daemon, and PostgreSQL).
 *
 * Two launches of one and the same program differ by some percent for as long as they live (where their memory lies, say), so many pairs
 * of one launch only seem to be certain: 150 of them once gave 0.947 (0.932 to 0.970). So both are launched anew several times; a launch
 * counts as the median of its pairs, and the result is the median of the launches, with the interval that they give.
 *
 * Beside it, what can be told without a comparison: the share of the platform's own processes in all processor time of the training.
 * Aim: tokens/s at least 0.98 of bare, with the whole interval. `nice -n -10` (as root) keeps other programs away. Linux only.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { jobFiles, readIdentity } from "@hypernode/engine/jobs/JobDirectory"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Leases } from "@hypernode/engine/keys/Leases"
import { findDataDirectory } from "@hypernode/engine/store/postgres/Placement"
import { runningServer } from "@hypernode/engine/store/postgres/Server"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import type { Options } from "../packages/plugins/src/torchrun/Options.ts"
import { trainerConfig, trainingPaths } from "../packages/plugins/src/torchrun/TrainerConfig.ts"
import { trainerPython } from "../packages/plugins/src/trainer/Requirements.ts"
import { missingPython, train, World } from "../packages/plugins/test/torchrun/world.ts"
import { type MedianInterval, medianInterval } from "./training/MedianInterval.ts"
import { Processes, secondsOf } from "./training/Processes.ts"
import { Training, type Turn } from "./training/Training.ts"

export interface TrainingFigures {
  /** medians */
  readonly platformTokensPerSecond: number
  readonly bareTokensPerSecond: number
  /** microseconds of processor time a token, medians */
  readonly platformMicrosPerToken: number
  readonly bareMicrosPerToken: number
  /** platform / bare, from the launches */
  readonly speed: MedianInterval
  readonly processor: MedianInterval
  /** tokens a second, platform / bare: the median of each launch's pairs */
  readonly launches: ReadonlyArray<number>
  /** of all processor time of the training, what supervisor, daemon and database used */
  readonly ownShare: number
  readonly tokens: number
  readonly sandbox: string
  readonly slots: number
  readonly machine: string
}

/** as JobWatcher does it */
const ingestMillis = 500

/** Waits until the trainer's file says that it trains, and stops it there. */
const standing = async (telemetry: string, roots: () => ReadonlyArray<number>, ended: () => boolean, others: () => number): Promise<Training> => {
  for (const from = Date.now(); ; await delay(100)) {
    if (existsSync(telemetry) && readFileSync(telemetry, "utf8").includes('"kind": "step"')) break
    if (ended() || Date.now() - from > 180_000) throw new Error(`the trainer of ${telemetry} does not begin to train`)
  }
  const training = new Training(new Processes(...roots()), telemetry, others)
  training.stop()
  return training
}

interface Wanted {
  readonly pairs: number
  readonly seconds: number
  readonly slots: number
}

interface Pair {
  readonly platform: Turn
  readonly bare: Turn
}

interface Launch {
  readonly pairs: ReadonlyArray<Pair>
  readonly tokensPerStep: number
  readonly ownShare: number
  readonly sandbox: string
}

const launch = async (wanted: Wanted): Promise<Launch> => {
  const world = await World.make()
  let child: ChildProcess | undefined
  let platform: Training | undefined
  let bare: Training | undefined
  let platformTurn = true
  let over = false
  let ingested: Promise<void> | undefined
  try {
    const input = await world.shards(wanted.slots)
    // neither comes to an end before it is ended
    const options = { epochs: 10_000, lr: 1e-6, schedule: "constant", batchSize: 8, sequenceLength: 128, checkpointEvery: 1_000_000, keepCheckpoints: 1, sandbox: "auto" } as const

    const context = await world.training(options, input, "platform")
    const handle = await world.run(train.start(context))
    const files = jobFiles(handle.directory)
    const server = await runningServer((await findDataDirectory(world.home))!)
    const ingest = Effect.flatMap(TelemetryStore, (store) => store.ingest("run-1", "platform", handle.directory))
    await world.run(ingest)
    // its connections are its children
    const database = new Processes(server!.pid)
    const daemon = (): number => {
      const { system, user } = process.cpuUsage()
      return (system + user) / 1e6 + database.seconds()
    }
    const ingesting = async (): Promise<void> => {
      for (; !over; await delay(ingestMillis)) if (platformTurn) await world.run(ingest)
    }
    ingested = ingesting()
    // until it is awaited, at the end
    ingested.catch(() => undefined)
    platform = await standing(files.telemetry, () => [readIdentity(files.supervisor)!.pid], () => readIdentity(files.supervisor) === undefined, daemon)
    platformTurn = false

    const bareContext = await world.training(options, input, "bare")
    const job = join(bareContext.scratch, "job")
    const paths = { ...trainingPaths(job, bareContext.scratch), model: join(context.scratch, "model"), segments: join(context.scratch, "segments") }
    for (const path of [paths.result, paths.work, paths.checkpoints]) await mkdir(path, { recursive: true })
    // the data is sealed, so the bare trainer has a lease too
    const { socket, tokens } = await world.run(
      Effect.flatMap(Keyring, (keyring) =>
        Effect.flatMap(keyring.publicKey("node"), (node) => Effect.flatMap(Leases, (leases) => leases.grant({ jobId: "bare", runId: "run-1", node, shards: input.shards, expiresAt: Date.now() + 3_600_000, fencingToken: 1 }))))
    )
    await writeFile(paths.config, JSON.stringify(trainerConfig(bareContext.options as Options, input.shards, paths, socket)))
    const trainer = spawn(process.env["HYPER_PYTHON"]!, ["-m", "hyper_trainer.launch", "--config", paths.config], {
      cwd: paths.work,
      env: { PATH: process.env["PATH"], HOME: paths.work, LANG: "C.UTF-8", PYTHONPATH: trainerPython, PYTHONDONTWRITEBYTECODE: "1", HYPER_TELEMETRY: paths.telemetry },
      stdio: ["pipe", "ignore", "inherit"]
    })
    child = trainer
    trainer.stdin.end(JSON.stringify({ tokens }))
    bare = await standing(paths.telemetry, () => [trainer.pid!], () => trainer.exitCode !== null, () => 0)

    const pairs: Array<Pair> = []
    const own = (): number => daemon() + secondsOf(readIdentity(files.supervisor)!.pid)
    const turnOf = async (which: "platform" | "bare"): Promise<Turn> => {
      platformTurn = which === "platform"
      return (which === "platform" ? platform! : bare!).turn(wanted.seconds * 1000)
    }
    for (const which of ["platform", "bare"] as const) await turnOf(which) // not counted: both have just been started
    const before = { own: own(), all: platform.processorSeconds }
    for (let pair = 0; pair < wanted.pairs; pair++) {
      const order = pair % 2 === 0 ? (["platform", "bare"] as const) : (["bare", "platform"] as const)
      const first = await turnOf(order[0])
      const second = await turnOf(order[1])
      pairs.push(pair % 2 === 0 ? { platform: first, bare: second } : { platform: second, bare: first })
    }
    over = true
    await ingested

    const tokensPerStep = platform.tokensPerStep
    // the same rows in the same order
    if (Math.abs(bare.tokensPerStep / tokensPerStep - 1) > 0.01) throw new Error(`a step has ${tokensPerStep} tokens through the platform and ${bare.tokensPerStep} bare: that is not the same training`)
    return {
      pairs,
      tokensPerStep,
      ownShare: (own() - before.own) / (platform.processorSeconds - before.all),
      sandbox: (JSON.parse(readFileSync(join(handle.directory, "launch.json"), "utf8")) as { readonly sandbox: string }).sandbox
    }
  } finally {
    over = true
    await ingested?.catch(() => undefined)
    platform?.go()
    bare?.go()
    child?.kill("SIGTERM")
    await world.run(Effect.flatMap(Jobs, (jobs) => Effect.flatMap(jobs.list, (all) => Effect.forEach(all, (job) => jobs.cancel(job.handle))))).catch((error) => console.error(error))
    if (child !== undefined && child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child!.once("exit", resolve))
    await world.dispose()
  }
}

export const measureTraining = async ({ launches: count, ...wanted }: Wanted & { readonly launches: number }): Promise<TrainingFigures> => {
  const launches: Array<Launch> = []
  for (let i = 0; i < count; i++) launches.push(await launch(wanted))
  const ofLaunch = (of: (pair: Pair, tokensPerStep: number) => number): ReadonlyArray<number> => launches.map(({ pairs, tokensPerStep }) => medianInterval(pairs.map((pair) => of(pair, tokensPerStep))).median)
  const speed = (turn: Turn, tokensPerStep: number): number => (tokensPerStep * turn.steps) / turn.seconds
  const cost = (turn: Turn, tokensPerStep: number): number => (turn.processorSeconds * 1e6) / (tokensPerStep * turn.steps)
  const median = (values: ReadonlyArray<number>): number => medianInterval(values).median
  const ratios = ofLaunch((pair, tokens) => speed(pair.platform, tokens) / speed(pair.bare, tokens))
  return {
    platformTokensPerSecond: median(ofLaunch((pair, tokens) => speed(pair.platform, tokens))),
    bareTokensPerSecond: median(ofLaunch((pair, tokens) => speed(pair.bare, tokens))),
    platformMicrosPerToken: median(ofLaunch((pair, tokens) => cost(pair.platform, tokens))),
    bareMicrosPerToken: median(ofLaunch((pair, tokens) => cost(pair.bare, tokens))),
    speed: medianInterval(ratios),
    processor: medianInterval(ofLaunch((pair, tokens) => cost(pair.platform, tokens) / cost(pair.bare, tokens))),
    launches: ratios,
    ownShare: median(launches.map(({ ownShare }) => ownShare)),
    tokens: Math.round(launches.reduce((sum, { pairs, tokensPerStep }) => sum + tokensPerStep * pairs.reduce((steps, pair) => steps + pair.platform.steps + pair.bare.steps, 0), 0)),
    sandbox: launches[0]!.sandbox,
    slots: wanted.slots,
    machine: `${cpus().length} cores, load ${loadavg()[0]!.toFixed(1)}`
  }
}

const print = (figures: TrainingFigures): void => {
  const interval = ({ confidence, high, low, median }: MedianInterval): string => `${median.toFixed(3)} (${(confidence * 100).toFixed(0)} % confidence: ${low.toFixed(3)} to ${high.toFixed(3)})`
  console.log(`training, ${figures.slots} processes, ${figures.tokens.toLocaleString("en-US")} tokens in ${figures.launches.length} launches of both, sandbox ${figures.sandbox} (${figures.machine})`)
  console.log(`  tokens/s                    platform ${figures.platformTokensPerSecond.toFixed(0).padStart(6)}, bare ${figures.bareTokensPerSecond.toFixed(0).padStart(6)}, ratio ${interval(figures.speed)}`)
  console.log(`    launches: ${figures.launches.map((ratio) => ratio.toFixed(3)).join(", ")}`)
  console.log(`  processor time a token, µs  platform ${figures.platformMicrosPerToken.toFixed(1).padStart(6)}, bare ${figures.bareMicrosPerToken.toFixed(1).padStart(6)}, ratio ${interval(figures.processor)}`)
  console.log(`  of all processor time of the training, the platform's own processes used ${(figures.ownShare * 100).toFixed(1)} %`)
  const { high, low } = figures.speed
  console.log(`  ${low >= 0.98 ? "met      " : high < 0.98 ? "MISSED   " : "NOT SHOWN"} tokens/s at least 0.98 of bare`)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false }, launches: { type: "string" }, pairs: { type: "string" }, seconds: { type: "string" }, slots: { type: "string", default: "2" } } })
  if (missingPython !== undefined) process.exit(1)
  const figures = await measureTraining({ launches: Number(values.launches ?? (values.quick ? 2 : 6)), pairs: Number(values.pairs ?? (values.quick ? 3 : 6)), seconds: Number(values.seconds ?? 1.5), slots: Number(values.slots) })
  if (values.json) console.log(JSON.stringify(figures))
  else print(figures)
}
