/** Starts a training job: model and sealed segments laid out, lease granted, process confined. Idempotent on the job key. */
import { constants, promises as fs } from "node:fs"
import { basename, dirname } from "node:path"
import * as Effect from "effect/Effect"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { Sandbox, type SandboxKind } from "@hypernode/engine/capability/Sandbox"
import { LABEL } from "@hypernode/engine/containers/labels"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Leases } from "@hypernode/engine/keys/Leases"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Model, Shards } from "@hypernode/engine/stage/values"
import { pythonEnvironment } from "../trainer/Environment.ts"
import { sandboxFailure } from "./failures.ts"
import type { Options } from "./Options.ts"
import { segmentFile, trainerConfig, type TrainingPaths, trainingPaths } from "./TrainerConfig.ts"

export type TrainContext = StageContext<Options, { readonly model: Model; readonly shards: Shards }>

/** A lease outlives any sensible training; it is revoked when the job has ended. */
const LEASE_MILLIS = 30 * 24 * 3600 * 1000

export const onDisk = <A>(doing: string, work: () => Promise<A>): Effect.Effect<A, StageError> =>
  Effect.tryPromise({
    try: work,
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      return code === "ENOSPC" || code === "EDQUOT"
        ? new StageError({ reason: "OutOfSpace", message: `${doing}: the disk is full`, remedy: "Free some space where HYPER_HOME lies, then run `hyper resume`." })
        : new StageError({ reason: "Unavailable", message: `${doing}: ${message}` })
    }
  })

/** The confined process is another user where we are root: what it reads must be readable to others. The directories above stay closed. */
const open = (path: string, mode: number) => fs.chmod(path, mode)

/** Sealed segments in one directory, so that the sandbox gets these and no other artifact. */
const layOutSegments = Effect.fnUntraced(function*(shards: Shards, paths: TrainingPaths) {
  const store = yield* ArtifactStore
  yield* onDisk("Cannot make the segments' directory", () => fs.mkdir(paths.segments, { recursive: true }).then(() => open(paths.segments, 0o755)))
  const wanted = new Set(shards.slots.flatMap((slot) => slot.segments))
  for (const segment of shards.sealed.segments) {
    if (!wanted.has(segment.index)) continue
    const blob = yield* Effect.mapError(store.path(segment.artifact), artifactFailure)
    const target = segmentFile(paths, segment.index)
    yield* onDisk(`Cannot lay out segment ${segment.index}`, async () => {
      await fs.rm(target, { force: true })
      const readable = ((await fs.stat(blob)).mode & 0o004) !== 0
      const linked = readable && (await fs.link(blob, target).then(() => true, () => false))
      if (linked) return
      await fs.copyFile(blob, target, constants.COPYFILE_FICLONE)
      await open(target, 0o444)
    })
  }
})

/** Attempts before this one have ended, whatever became of them: two trainings of one step would pay twice and write over each other. */
const endEarlier = Effect.fnUntraced(function*(context: TrainContext, directory: string) {
  const jobs = yield* Jobs
  const leases = yield* Leases
  for (const job of yield* Effect.mapError(jobs.list, jobFailure)) {
    if (job.runId !== context.runId || job.stepId !== context.stepId || job.handle.directory === directory) continue
    yield* Effect.mapError(jobs.cancel(job.handle), jobFailure)
    yield* Effect.ignore(leases.revoke(job.handle.id))
  }
})

const processEnvironment = (pythonPath: string, paths: TrainingPaths, kind: SandboxKind): Record<string, string> => {
  const passed = ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))
  return {
    ...Object.fromEntries(passed),
    PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    HOME: kind === "none" ? paths.work : "/tmp",
    LANG: "C.UTF-8",
    PYTHONPATH: pythonPath,
    PYTHONUNBUFFERED: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONNOUSERSITE: "1",
    HYPER_TELEMETRY: paths.telemetry
  }
}

export const start = Effect.fn("torchrun.start")(function*(context: TrainContext) {
  const { input: { model, shards }, options } = context
  const jobs = yield* Jobs
  const progress = yield* Progress
  const sandbox = yield* Sandbox
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const there = (yield* Effect.mapError(jobs.list, jobFailure)).find((job) => job.handle.directory === directory)
  if (there !== undefined) return there.handle
  yield* endEarlier(context, directory)

  const kind = yield* Effect.mapError(sandbox.choose(options.sandbox), sandboxFailure)
  if (kind === "none") yield* progress.log("Training runs without a sandbox: this machine's other files are open to it", "warn")
  const environment = yield* pythonEnvironment(context.cache)

  const paths = trainingPaths(directory, context.scratch)
  const store = yield* ArtifactStore
  yield* Effect.mapError(store.materialize(model.tree, paths.model), artifactFailure)
  yield* layOutSegments(shards, paths)
  yield* onDisk("Cannot prepare the job's directory", async () => {
    for (const path of [paths.result, paths.work, paths.checkpoints]) await fs.mkdir(path, { recursive: true, mode: 0o700 })
    await open(paths.model, 0o755)
    await (await fs.open(paths.telemetry, "a", 0o600)).close()
  })

  const keyring = yield* Keyring
  const leases = yield* Leases
  const jobId = basename(directory)
  const node = yield* Effect.mapError(keyring.publicKey("node"), (error) => new StageError({ reason: "Missing", message: error.message }))
  const { socket, tokens } = yield* Effect.mapError(
    leases.grant({ jobId, runId: context.runId, node, shards, expiresAt: Date.now() + LEASE_MILLIS, fencingToken: context.attempt }),
    (error) => new StageError({ reason: "Denied", message: `The lease on the data set's segments was not granted: ${error.message}`, remedy: "Check with `hyper keys` that the data set's key is still there; if it was destroyed, run the pipeline again: the data is then sealed anew." })
  )
  yield* onDisk("Cannot write the job's configuration", async () => {
    await fs.writeFile(paths.config, JSON.stringify(trainerConfig(options, shards, paths, socket)))
    await open(paths.config, 0o644)
    await fs.writeFile(paths.launch, JSON.stringify({ sandbox: kind, environment: environment.digest }), { mode: 0o600 })
  })
  const command = yield* Effect.mapError(
    sandbox.wrap(kind, {
      command: [environment.python, "-m", "hyper_trainer.launch", "--config", paths.config],
      readOnly: [...environment.readOnly, paths.model, paths.segments, paths.config],
      writable: [paths.work, paths.result, paths.checkpoints, paths.telemetry],
      sockets: [socket],
      cwd: paths.work,
      labels: { [LABEL.run]: context.runId, [LABEL.step]: context.stepId, [LABEL.job]: jobId, [LABEL.purpose]: "train" }
    }),
    sandboxFailure
  )
  yield* progress.log(`Training ${model.name} (${options.method}) in ${shards.slots.length} process${shards.slots.length === 1 ? "" : "es"}, sandbox: ${kind}`)
  return yield* Effect.mapError(
    jobs.start(context.jobKey, {
      purpose: "train",
      runId: context.runId,
      stepId: context.stepId,
      command,
      cwd: kind === "none" ? paths.work : dirname(paths.config),
      env: processEnvironment(environment.pythonPath, paths, kind),
      stdin: JSON.stringify({ tokens }),
      // the launcher waits for its ranks, and these for a checkpoint that is being written
      graceMillis: 15_000
    }),
    jobFailure
  )
})
