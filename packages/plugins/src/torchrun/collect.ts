/** What a training job left becomes artifacts. The files were written by a confined process: nothing in them is followed, run or trusted. */
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { type JobHandle, Jobs } from "@hypernode/engine/capability/Jobs"
import { SandboxKind } from "@hypernode/engine/capability/Sandbox"
import { Leases } from "@hypernode/engine/keys/Leases"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Trained, TrainedCheckpoint, TrustTier } from "@hypernode/engine/stage/values"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import { trainingFailure } from "./failures.ts"
import { onDisk, type TrainContext } from "./start.ts"
import { trainingPaths } from "./TrainerConfig.ts"

const Result = Schema.Struct({
  steps: Schema.Int,
  tokens: Schema.Int,
  firstLoss: Schema.Finite,
  lastLoss: Schema.Finite,
  evalLoss: Schema.optionalKey(Schema.Finite),
  seconds: Schema.Finite,
  checkpoints: Schema.NonEmptyArray(
    Schema.Struct({
      step: Schema.Int,
      epoch: Schema.Finite,
      loss: Schema.Finite,
      evalLoss: Schema.optionalKey(Schema.Finite),
      // one name below the result directory, never a path
      path: Schema.String.check(Schema.isPattern(/^checkpoint-\d+$/))
    })
  ),
  worldSize: Schema.Int,
  deviceClass: Schema.String.check(Schema.isPattern(/^[\w .:()/+-]{1,100}$/))
})

const Launch = Schema.Struct({ sandbox: SandboxKind, environment: Schema.String })

const RESULT_LIMIT = 1 << 20

const trustTier: Readonly<Record<SandboxKind, TrustTier>> = { container: "sandboxed-container", bubblewrap: "sandboxed-bubblewrap", none: "unsandboxed" }

const readOwn = (path: string): Promise<string> =>
  fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).then(async (file) => {
    try {
      const stat = await file.stat()
      if (!stat.isFile() || stat.size > RESULT_LIMIT) throw new Error("it is not a small plain file")
      return await file.readFile("utf8")
    } finally {
      await file.close()
    }
  })

const decoded = <S extends Schema.Codec<any, any>>(name: string, schema: S, path: string): Effect.Effect<S["Type"], StageError> =>
  Effect.tryPromise({ try: () => readOwn(path), catch: (cause) => (cause as Error).message }).pipe(
    Effect.flatMap((text) => Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(text), (error) => String(error))),
    Effect.mapError((why) => new StageError({ reason: "Corrupt", message: `The training job's ${name} cannot be used: ${why.slice(0, 300)}`, remedy: "Run the pipeline again; the trainer did not end as it should." }))
  )

/** Digest of the last signed batch; "" where the job ended before it had anything to report. */
const lastBatch = (path: string): Promise<string> =>
  fs.readFile(path, "utf8").then(
    (text) => {
      const line = text.trimEnd().split("\n").at(-1)
      return line === undefined || line === "" ? "" : (JSON.parse(line) as { digest: string }).digest
    },
    () => ""
  )

export const collect = Effect.fn("torchrun.collect")(function*(context: TrainContext, handle: JobHandle) {
  const jobs = yield* Jobs
  const store = yield* ArtifactStore
  const telemetry = yield* TelemetryStore
  const progress = yield* Progress
  const leases = yield* Leases
  const state = yield* Effect.mapError(jobs.ended(handle), jobFailure)
  yield* Effect.mapError(leases.revoke(handle.id), (error) => new StageError({ reason: "Unavailable", message: error.message }))
  // work is paid whatever the outcome: its measure is taken in before anything else can fail
  yield* Effect.mapError(telemetry.ingest(context.runId, context.stepId, handle.directory), (error) => new StageError({ reason: "Corrupt", message: error.message }))
  const paths = trainingPaths(handle.directory, context.scratch)
  if (state._tag !== "Ended" || state.exitCode !== 0 || state.signal !== null) return yield* trainingFailure(state, handle.directory)
  if (state.note !== undefined) yield* progress.log(`The supervisor notes: ${state.note}`, "warn")

  const launch = yield* decoded("launch.json", Launch, paths.launch)
  const result = yield* decoded("result.json", Result, join(paths.result, "result.json"))
  const checkpoints: Array<TrainedCheckpoint> = []
  for (const { path, ...checkpoint } of result.checkpoints) {
    const directory = join(paths.result, path)
    yield* onDisk(`Cannot read the checkpoint of step ${checkpoint.step}`, async () => {
      if (!(await fs.lstat(directory)).isDirectory()) throw new Error("it is not a directory")
    })
    checkpoints.push({ ...checkpoint, tree: yield* Effect.mapError(store.putTree(directory), artifactFailure) })
    yield* progress.report({ done: checkpoints.length, total: result.checkpoints.length, unit: "checkpoints", label: "Storing checkpoints" })
  }
  const trained: Trained = {
    method: context.options.method,
    base: context.input.model,
    checkpoints,
    steps: result.steps,
    tokens: result.tokens,
    firstLoss: result.firstLoss,
    lastLoss: result.lastLoss,
    seconds: result.seconds,
    worldSize: result.worldSize,
    deviceClass: result.deviceClass,
    sandbox: launch.sandbox,
    trustTier: trustTier[launch.sandbox],
    jobId: handle.id,
    telemetryHead: yield* Effect.promise(() => lastBatch(paths.batches))
  }
  yield* progress.log(`Trained ${trained.steps} steps, ${trained.tokens.toLocaleString("en-US")} tokens in ${trained.seconds.toFixed(1)} s: loss ${trained.firstLoss.toFixed(3)} → ${trained.lastLoss.toFixed(3)} (${trained.trustTier})`)
  return trained
})
