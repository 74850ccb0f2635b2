/** The trainer's `config.json` (trainer/python/hyper_trainer/config.py checks it again) and where a job's files lie. */
import { join } from "node:path"
import type { Shards } from "@hypernode/engine/stage/values"
import type { Options } from "./Options.ts"

/** `shared` is one for all attempts of a step, so that an attempt goes on from the checkpoints of the one before. */
export const trainingPaths = (job: string, shared: string) => ({
  config: join(job, "config.json"),
  /** what `collect` must know of how the job was started */
  launch: join(job, "launch.json"),
  telemetry: join(job, "telemetry.jsonl"),
  batches: join(job, "batches.jsonl"),
  result: join(job, "result"),
  /** the process's working directory */
  work: join(job, "work"),
  model: join(shared, "model"),
  segments: join(shared, "segments"),
  checkpoints: join(shared, "checkpoints")
})
export type TrainingPaths = ReturnType<typeof trainingPaths>

const LORA = { rank: 8, alpha: 16, dropout: 0, targets: "all-linear" as const }

const LEARNING_RATE = { lora: 2e-4, full: 2e-5 }

export const segmentFile = (paths: TrainingPaths, index: number): string => join(paths.segments, `${index}.age`)

export const trainerConfig = (options: Options, shards: Shards, paths: TrainingPaths, leaseSocket: string) => ({
  version: 1,
  method: options.method,
  model: paths.model,
  format: shards.sealed.format,
  epochs: options.epochs,
  ...(options.maxSteps === undefined ? {} : { maxSteps: options.maxSteps }),
  learningRate: options.lr ?? LEARNING_RATE[options.method],
  batchSize: options.batchSize,
  gradientAccumulation: options.gradientAccumulation,
  sequenceLength: options.sequenceLength,
  warmupSteps: options.warmupSteps,
  schedule: options.schedule,
  weightDecay: options.weightDecay,
  gradClip: options.gradClip,
  seed: options.seed,
  ...(options.method === "lora" ? { lora: options.lora ?? LORA } : {}),
  evalFraction: options.evalFraction,
  ...(options.evalEvery === undefined ? {} : { evalEvery: options.evalEvery }),
  checkpointEvery: options.checkpointEvery,
  keepCheckpoints: options.keepCheckpoints,
  worldSize: shards.slots.length,
  slots: shards.slots.map(({ segments, slot }) => ({
    slot,
    segments: segments.map((index) => ({ index, path: segmentFile(paths, index), rows: shards.sealed.segments.find((segment) => segment.index === index)?.rows ?? 0 }))
  })),
  leaseSocket,
  checkpointDirectory: paths.checkpoints,
  resultDirectory: paths.result,
  device: options.device
})
