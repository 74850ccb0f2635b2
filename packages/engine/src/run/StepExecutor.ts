/**
 * What happens inside one durable step. Every function here first asks the log what has already been recorded, so that being called
 * again after a crash changes nothing that has ended. Failures are recorded, then either thrown as `StepFailure` (the durable layer
 * tries again) or returned as `failed` (the workflow winds down).
 */
import { Cause, Effect, Exit, Option, Schema } from "effect"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { JobHandle, Jobs } from "../capability/Jobs.ts"
import { canonicalJson } from "../artifact/Digest.ts"
import { digestOfJson } from "../artifact/Digest.ts"
import { cacheKey as makeCacheKey, effectKey, jobKey } from "../plan/Keys.ts"
import type { LongStage, ShortStage, StageContext, StageDefinition } from "../plugin/Plugin.ts"
import { kinds } from "../stage/kinds.ts"
import type { Progress } from "../stage/Progress.ts"
import { StageError } from "../stage/StageError.ts"
import type { StageServices } from "../stage/StageServices.ts"
import { artifactsStand } from "./artifactsStand.ts"
import { untilCancelled } from "./CancelSignal.ts"
import { StepFailure } from "./Durable.ts"
import { resolveInputs } from "./inputs.ts"
import { progressFor } from "./progress.ts"
import { foldRun, type Run, type StepView } from "./Run.ts"
import { RunStore, type RunNotFound, type RunStoreError } from "./RunStore.ts"
import { Stages } from "./Stages.ts"
import { noteCached } from "./StepCache.ts"

export type StepServices = Exclude<StageServices, Progress> | RunStore | Stages | CurrentHome | Jobs

/** Tries of one durable step body; after the last one a retryable failure is final. */
export const DURABLE_ATTEMPTS = 4
/** Jobs started for one step in one generation of a run. */
const JOB_ATTEMPTS = 3

export type Begun =
  | { readonly state: "done" }
  | { readonly state: "failed" }
  | { readonly state: "again" }
  | { readonly state: "job"; readonly attempt: number; readonly handle: typeof JobHandle.Type }

export interface Tried {
  readonly runId: string
  readonly stepId: string
  /** which round of the step in this generation of the run, from 1 */
  readonly round: number
  /** attempt of the durable step body, from 1 */
  readonly tried: number
}

export const loadRun = Effect.fnUntraced(function*(runId: string): Effect.fn.Return<Run, RunNotFound | RunStoreError, RunStore> {
  const store = yield* RunStore
  const run = foldRun(yield* store.events(runId))
  return run ?? (yield* Effect.die(new Error(`run ${runId} has no first event`)))
})

const findStep = (run: Run, stepId: string): { readonly view: StepView; readonly step: Run["plan"]["steps"][number] } => {
  const view = run.steps.find((s) => s.id === stepId)
  const step = run.plan.steps.find((s) => s.id === stepId)
  if (view === undefined || step === undefined) throw new Error(`run ${run.id} has no step ${stepId}`)
  return { view, step }
}

const scratchError = (path: string, cause: NodeJS.ErrnoException): StageError =>
  cause.code === "ENOSPC"
    ? new StageError({ reason: "OutOfSpace", message: `no space left for ${path}`, remedy: "free some disk space, then: hyper resume" })
    : new StageError({ reason: "Unavailable", message: `${path} cannot be made: ${cause.message}`, remedy: "check that the home is writable" })

const contextFor = Effect.fnUntraced(function*(run: Run, stepId: string, attempt: number, options: unknown, input: unknown) {
  const home = yield* CurrentHome
  const scratch = join(home.scratch, run.id, stepId)
  yield* Effect.tryPromise({
    try: () => mkdir(scratch, { recursive: true, mode: 0o700 }),
    catch: (cause) => scratchError(scratch, cause as NodeJS.ErrnoException)
  })
  const context: StageContext<any, any> = {
    tenant: run.tenant,
    runId: run.id,
    stepId,
    attempt,
    jobKey: jobKey(run.id, stepId, attempt),
    effectKey: run.generation === 1 ? effectKey(run.id, stepId) : `${effectKey(run.id, stepId)}/${run.generation}`,
    pipeline: run.pipeline,
    // asked for by few, and not cheap for a large plan
    get plan() {
      return digestOfJson(run.plan)
    },
    options,
    input,
    projectDirectory: run.projectDirectory,
    scratch,
    home: home.root,
    cache: home.cache
  }
  return context
})

const dropScratch = Effect.fnUntraced(function*(runId: string, stepId: string) {
  const home = yield* CurrentHome
  yield* Effect.promise(() => rm(join(home.scratch, runId, stepId), { recursive: true, force: true }).catch(() => undefined))
})

/** The error a stage ended with, whatever way it ended: a defect is ours and says so. */
const toStageError = (cause: Cause.Cause<unknown>): StageError => {
  const error = Cause.squash(cause)
  if (error instanceof StageError) return error
  if (error !== null && typeof error === "object" && "_tag" in error && "message" in error) {
    const tagged = error as { readonly _tag: string; readonly message: unknown; readonly code?: unknown; readonly remedy?: unknown }
    const full = tagged.code === "ENOSPC"
    return new StageError({
      reason: full ? "OutOfSpace" : tagged._tag === "ArtifactCorrupt" ? "Corrupt" : tagged._tag.endsWith("Missing") ? "Missing" : "Unavailable",
      message: String(tagged.message),
      ...(typeof tagged.remedy === "string" ? { remedy: tagged.remedy } : full ? { remedy: "free some disk space, then: hyper resume" } : {})
    })
  }
  return new StageError({ reason: "Internal", message: error instanceof Error ? error.message : String(error), remedy: "this is a defect in hyper or in the plugin; the engine's log has the trace" })
}

/** Records a failure and says how to go on. */
const recordFailure = Effect.fnUntraced(function*(at: Tried, attempt: number, error: StageError, final: boolean) {
  const store = yield* RunStore
  yield* store.append(at.runId, {
    _tag: "StepFailed",
    step: at.stepId,
    attempt,
    reason: error.reason,
    message: error.message,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
    final
  })
})

const cancelled = new StageError({ reason: "Cancelled", message: "cancelled" })

const isLong = (body: StageDefinition["body"]): body is LongStage<any, any, any> => "start" in body

const record = Effect.fnUntraced(function*(run: Run, definition: StageDefinition, stepId: string, attempt: number, raw: unknown, key: string) {
  const store = yield* RunStore
  const home = yield* CurrentHome
  const output = yield* Schema.decodeUnknownEffect(Schema.toCodecJson(kinds[definition.kind].output as unknown as Schema.Codec<unknown, unknown>))(raw).pipe(
    Effect.map(() => JSON.parse(JSON.stringify(raw)) as Schema.Json),
    Effect.mapError((issue) => new StageError({ reason: "Internal", message: `${stepId}: the plugin's output does not fit the kind "${definition.kind}": ${String(issue)}` }))
  )
  yield* store.append(run.id, { _tag: "StepEnded", step: stepId, attempt, output, cacheKey: key }, { once: `ended:${stepId}` })
  if (definition.effect === "pure" || definition.alive !== undefined) {
    yield* store.cachePut(run.tenant, key, output, run.id)
    yield* Effect.ignore(Effect.try(() => noteCached(home, run.tenant, key, { output, runId: run.id })))
  }
  yield* dropScratch(run.id, stepId)
})

const keyOf = Effect.fnUntraced(function*(run: Run, stepId: string, definition: StageDefinition, options: unknown, input: Record<string, unknown>) {
  const { step } = findStep(run, stepId)
  const fingerprint = definition.fingerprint === undefined ? null : yield* definition.fingerprint(options, { projectDirectory: run.projectDirectory })
  return makeCacheKey({ tenant: run.tenant, step, fingerprint: JSON.parse(canonicalJson(fingerprint)) as unknown, inputs: input })
})

/** Starts a step: served from the cache, run to its end (short), or its job started (long). */
export const begin = Effect.fnUntraced(function*(at: Tried): Effect.fn.Return<Begun, StepFailure | RunNotFound | RunStoreError, StepServices> {
  const store = yield* RunStore
  const run = yield* loadRun(at.runId)
  const { view, step } = findStep(run, at.stepId)
  if (view.state === "done" || view.state === "cached") return { state: "done" }
  let attempt = view.attempts.length + 1
  if (run.state === "cancelling") {
    yield* recordFailure(at, attempt, cancelled, true)
    return { state: "failed" }
  }
  const work = Effect.gen(function*() {
    const input = yield* Effect.try({ try: () => resolveInputs(run, step), catch: (e) => e as StageError })
    const { definition, options } = yield* (yield* Stages).load(step, run.projectDirectory)
    const key = yield* keyOf(run, at.stepId, definition, options, input)
    const progress = progressFor(store, run.id, at.stepId)
    if (definition.effect === "pure" || definition.alive !== undefined) {
      const hit = yield* store.cacheGet(run.tenant, key)
      if (hit !== undefined) {
        const context = yield* contextFor(run, at.stepId, attempt, options, input)
        const stands = (yield* artifactsStand(hit.output)) && (definition.alive === undefined || (yield* Effect.provide(definition.alive(hit.output as never, context), progress).pipe(Effect.catch(() => Effect.succeed(false)))))
        if (stands) {
          yield* store.append(run.id, { _tag: "StepCached", step: at.stepId, output: hit.output as Schema.Json, cacheKey: key, fromRun: hit.runId }, { once: `ended:${at.stepId}` })
          yield* dropScratch(run.id, at.stepId)
          return { state: "done" } as const
        }
      }
    }
    const long = isLong(definition.body)
    const started = yield* store.append(
      run.id,
      { _tag: "StepStarted", step: at.stepId, attempt },
      long ? { once: `started:${at.stepId}:${run.generation}.${at.round}` } : {}
    )
    if (started.event._tag === "StepStarted") attempt = started.event.attempt
    const context = yield* contextFor(run, at.stepId, attempt, options, input)
    if (isLong(definition.body)) {
      const handle = yield* Effect.provide(definition.body.start(context), progress)
      yield* store.append(run.id, { _tag: "StepJobStarted", step: at.stepId, attempt, job: handle as unknown as Schema.Json }, { once: `job:${at.stepId}:${attempt}` })
      return { state: "job", attempt, handle } as const
    }
    const body = definition.body as ShortStage<any, any, any>
    const output = yield* Effect.provide(body.run(context), progress)
    yield* record(run, definition, at.stepId, attempt, output, key)
    return { state: "done" } as const
  })
  const exit = yield* Effect.exit(untilCancelled(work))
  if (Exit.isSuccess(exit)) return exit.value
  return yield* conclude(at, attempt, exit.cause, "throw")
})

/** A body that was interrupted may have started a job and not lived to record it: the job's own directory knows whose it is. */
const endJobsOf = Effect.fnUntraced(function*(runId: string, stepId: string) {
  const jobs = yield* Jobs
  const mine = (yield* jobs.list).filter((job) => job.runId === runId && job.stepId === stepId)
  yield* Effect.forEach(mine, (job) => jobs.cancel(job.handle), { discard: true })
}, Effect.catch((error) => Effect.logWarning(error.message)))

/** Turns a failed body into what the durable layer or the workflow does next. */
const conclude = Effect.fnUntraced(function*(at: Tried, attempt: number, cause: Cause.Cause<unknown>, onRetry: "throw" | "again") {
  const run = yield* loadRun(at.runId)
  if (run.state === "cancelling") {
    yield* endJobsOf(at.runId, at.stepId)
    yield* recordFailure(at, attempt, cancelled, true)
    yield* dropScratch(at.runId, at.stepId)
    return { state: "failed" } as const
  }
  // Interrupted without a request to cancel: the engine is stopping. Record nothing; the next engine begins this step again.
  if (Cause.hasInterrupts(cause) && Option.isNone(Cause.findErrorOption(cause))) return yield* Effect.interrupt
  const error = toStageError(cause)
  if (error.reason === "Internal") yield* Effect.logError(`run ${at.runId}, step ${at.stepId}: ${Cause.pretty(cause)}`)
  const left = onRetry === "throw" ? at.tried < (error.reason === "Internal" ? 2 : DURABLE_ATTEMPTS) : at.round < JOB_ATTEMPTS
  const again = error.isRetryable && left
  yield* recordFailure(at, attempt, error, !again)
  if (!again) {
    return { state: "failed" } as const
  }
  if (onRetry === "again") return { state: "again" } as const
  return yield* Effect.fail(new StepFailure(error.message, { retry: true, ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }) }))
})

/** Ends a long step whose job has ended: its files become artifacts, or its failure a new round. */
export const collect = Effect.fnUntraced(function*(at: Tried, attempt: number, handle: typeof JobHandle.Type): Effect.fn.Return<Begun, StepFailure | RunNotFound | RunStoreError, StepServices> {
  const store = yield* RunStore
  const run = yield* loadRun(at.runId)
  const { view, step } = findStep(run, at.stepId)
  if (view.state === "done" || view.state === "cached") return { state: "done" }
  const work = Effect.gen(function*() {
    const input = yield* Effect.try({ try: () => resolveInputs(run, step), catch: (e) => e as StageError })
    const { definition, options } = yield* (yield* Stages).load(step, run.projectDirectory)
    const body = definition.body as LongStage<any, any, any>
    const context = yield* contextFor(run, at.stepId, attempt, options, input)
    const progress = progressFor(store, run.id, at.stepId)
    if (run.state === "cancelling") {
      yield* Effect.provide(body.cancel(context, handle), progress)
      return yield* cancelled
    }
    const output = yield* Effect.provide(body.collect(context, handle), progress)
    yield* record(run, definition, at.stepId, attempt, output, yield* keyOf(run, at.stepId, definition, options, input))
    return { state: "done" } as const
  })
  const exit = yield* Effect.exit(untilCancelled(work))
  if (Exit.isSuccess(exit)) return exit.value
  return yield* conclude(at, attempt, exit.cause, "again")
})

/** Asks a long step's plugin to end its job: for a run that is being cancelled. */
export const cancelJob = Effect.fnUntraced(function*(run: Run, stepId: string): Effect.fn.Return<void, never, StepServices> {
  const { view, step } = findStep(run, stepId)
  const handle = Schema.decodeUnknownOption(JobHandle)(view.job)
  if (view.state !== "running" || Option.isNone(handle)) return
  const store = yield* RunStore
  yield* Effect.gen(function*() {
    const { definition, options } = yield* (yield* Stages).load(step, run.projectDirectory)
    if (!isLong(definition.body)) return
    const context = yield* contextFor(run, stepId, view.attempts.length, options, resolveInputs(run, step))
    yield* Effect.provide(definition.body.cancel(context, handle.value), progressFor(store, run.id, stepId))
  }).pipe(Effect.catchCause((cause) => Effect.logWarning(`run ${run.id}: cancelling ${stepId}: ${Cause.pretty(cause)}`)))
})

/** `open` and `close` of reward stages: escrow when the run starts, settlement of what was measured when it ends early. */
export const openRewards = Effect.fnUntraced(function*(at: Tried): Effect.fn.Return<Begun, StepFailure | RunNotFound | RunStoreError, StepServices> {
  const store = yield* RunStore
  const run = yield* loadRun(at.runId)
  const { view, step } = findStep(run, at.stepId)
  if (view.state !== "waiting") return { state: "done" }
  const exit = yield* Effect.exit(
    Effect.gen(function*() {
      const { definition, options } = yield* (yield* Stages).load(step, run.projectDirectory)
      if (definition.open === undefined) return
      const context = yield* contextFor(run, at.stepId, 1, options, {})
      yield* Effect.provide(definition.open(context), progressFor(store, run.id, at.stepId))
    })
  )
  if (Exit.isSuccess(exit)) return { state: "done" }
  return yield* conclude(at, 0, exit.cause, "throw")
})

export const closeRewards = Effect.fnUntraced(function*(at: Tried): Effect.fn.Return<Begun, StepFailure | RunNotFound | RunStoreError, StepServices> {
  const store = yield* RunStore
  const run = yield* loadRun(at.runId)
  const { view, step } = findStep(run, at.stepId)
  if (view.state === "done" || view.state === "cached") return { state: "done" }
  const exit = yield* Effect.exit(
    Effect.gen(function*() {
      const { definition, options } = yield* (yield* Stages).load(step, run.projectDirectory)
      if (definition.close === undefined) return
      const context = yield* contextFor(run, at.stepId, view.attempts.length + 1, options, {})
      const settlement = yield* Effect.provide(definition.close(context), progressFor(store, run.id, at.stepId))
      if (settlement !== undefined) yield* record(run, definition, at.stepId, context.attempt, settlement, "closed")
    })
  )
  if (Exit.isSuccess(exit)) return { state: "done" }
  const error = toStageError(exit.cause)
  yield* recordFailure(at, view.attempts.length + 1, error, true)
  return { state: "failed" }
})
