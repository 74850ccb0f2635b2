/**
 * What the platform costs a training: tokens/s of the same trainer, same model, data and options, through the platform's job path
 * (lease, sandbox, supervisor, signed telemetry) and bare (torchrun as a plain child process), in turns, on one machine.
 *
 *     HYPER_PYTHON=... node bench/training.ts [--json] [--pairs 4] [--steps 120] [--slots 2]
 *
 * Tokens/s are the trainer's own: tokens over the wall seconds of its loop. Aim: platform / bare >= 0.98. Also the seconds around the
 * loop (start-up, export), for which the sandbox's start and the storing of checkpoints count.
 */
import { spawn } from "node:child_process"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Leases } from "@hypernode/engine/keys/Leases"
import type { Options } from "../packages/plugins/src/torchrun/Options.ts"
import { trainerConfig, trainingPaths } from "../packages/plugins/src/torchrun/TrainerConfig.ts"
import { trainerPython } from "../packages/plugins/src/trainer/Requirements.ts"
import { missingPython, train, World } from "../packages/plugins/test/torchrun/world.ts"

export interface TrainingFigures {
  readonly pairs: ReadonlyArray<{ readonly platform: number; readonly bare: number; readonly ratio: number }>
  /** tokens a second, medians */
  readonly platformTokensPerSecond: number
  readonly bareTokensPerSecond: number
  /** median of the pairs' ratios */
  readonly ratio: number
  /** whole wall seconds, medians */
  readonly platformSeconds: number
  readonly bareSeconds: number
  readonly sandbox: string
  readonly slots: number
  readonly steps: number
  readonly machine: string
}

interface Measured {
  readonly tokensPerSecond: number
  readonly seconds: number
  readonly sandbox: string
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const measureTraining = async (wanted: { readonly pairs: number; readonly steps: number; readonly slots: number }): Promise<TrainingFigures> => {
  const world = await World.make()
  try {
    const input = await world.shards(wanted.slots)
    const options = { maxSteps: wanted.steps, epochs: 10_000, batchSize: 8, sequenceLength: 128, checkpointEvery: 1_000_000, keepCheckpoints: 1, sandbox: "auto" } as const
    let round = 0

    const platform = async (): Promise<Measured> => {
      const context = await world.training(options, input, `train-${++round}`)
      const began = performance.now()
      const handle = await world.run(train.start(context))
      const trained = await world.run(train.collect(context, handle))
      return { tokensPerSecond: trained.tokens / trained.seconds, seconds: (performance.now() - began) / 1000, sandbox: trained.sandbox }
    }

    const bare = async (): Promise<Measured> => {
      const context = await world.training(options, input, `bare-${++round}`)
      const job = join(context.scratch, "job")
      const paths = { ...trainingPaths(job, context.scratch), model: join(world.home.scratch, "run-1/train-1/model"), segments: join(world.home.scratch, "run-1/train-1/segments") }
      for (const path of [paths.result, paths.work, paths.checkpoints]) await mkdir(path, { recursive: true })
      // the data is sealed, so the bare trainer has a lease too
      const { socket, tokens } = await world.run(
        Effect.flatMap(Keyring, (keyring) =>
          Effect.flatMap(keyring.publicKey("node"), (node) => Effect.flatMap(Leases, (leases) => leases.grant({ jobId: `bare-${round}`, runId: "run-1", node, shards: input.shards, expiresAt: Date.now() + 3_600_000, fencingToken: 1 }))))
      )
      await writeFile(paths.config, JSON.stringify(trainerConfig(context.options as Options, input.shards, paths, socket)))
      const began = performance.now()
      const child = spawn(process.env["HYPER_PYTHON"]!, ["-m", "hyper_trainer.launch", "--config", paths.config], {
        cwd: paths.work,
        env: { PATH: process.env["PATH"], HOME: paths.work, LANG: "C.UTF-8", PYTHONPATH: trainerPython, PYTHONDONTWRITEBYTECODE: "1" },
        stdio: ["pipe", "ignore", "inherit"]
      })
      child.stdin.end(JSON.stringify({ tokens }))
      const code = await new Promise<number | null>((resolve) => child.once("exit", resolve))
      if (code !== 0) throw new Error(`the bare trainer ended with ${code}`)
      const result = JSON.parse(await readFile(join(paths.result, "result.json"), "utf8")) as { readonly tokens: number; readonly seconds: number }
      return { tokensPerSecond: result.tokens / result.seconds, seconds: (performance.now() - began) / 1000, sandbox: "none" }
    }

    const first = await platform() // warms the page cache, and lays out what the bare runs read
    const pairs: Array<{ platform: Measured; bare: Measured }> = []
    for (let pair = 0; pair < wanted.pairs; pair++) {
      // which goes first alternates, so that a machine that slows down favours neither
      if (pair % 2 === 0) {
        const one = await platform()
        pairs.push({ platform: one, bare: await bare() })
      } else {
        const one = await bare()
        pairs.push({ bare: one, platform: await platform() })
      }
    }
    const ratios = pairs.map((pair) => pair.platform.tokensPerSecond / pair.bare.tokensPerSecond)
    return {
      pairs: pairs.map((pair, index) => ({ platform: pair.platform.tokensPerSecond, bare: pair.bare.tokensPerSecond, ratio: ratios[index]! })),
      platformTokensPerSecond: median(pairs.map((pair) => pair.platform.tokensPerSecond)),
      bareTokensPerSecond: median(pairs.map((pair) => pair.bare.tokensPerSecond)),
      ratio: median(ratios),
      platformSeconds: median(pairs.map((pair) => pair.platform.seconds)),
      bareSeconds: median(pairs.map((pair) => pair.bare.seconds)),
      sandbox: first.sandbox,
      slots: wanted.slots,
      steps: wanted.steps,
      machine: `${cpus().length} cores, load ${loadavg()[0]!.toFixed(1)}`
    }
  } finally {
    await world.dispose()
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, pairs: { type: "string", default: "4" }, steps: { type: "string", default: "120" }, slots: { type: "string", default: "2" } } })
  if (missingPython !== undefined) process.exit(1)
  const figures = await measureTraining({ pairs: Number(values.pairs), steps: Number(values.steps), slots: Number(values.slots) })
  if (values.json) console.log(JSON.stringify(figures))
  else {
    console.log(`training, ${figures.slots} processes, ${figures.steps} steps, sandbox ${figures.sandbox} (${figures.machine})`)
    for (const pair of figures.pairs) console.log(`  platform ${pair.platform.toFixed(0)} tokens/s, bare ${pair.bare.toFixed(0)}: ${pair.ratio.toFixed(3)}`)
    console.log(`  median ratio ${figures.ratio.toFixed(3)} (aim: at least 0.98); whole ${figures.platformSeconds.toFixed(1)} s against ${figures.bareSeconds.toFixed(1)} s bare`)
  }
}
