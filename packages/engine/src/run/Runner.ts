/** Starts, cancels and resumes runs. Everything it does is an event in the log first, then a nudge to the durable layer. */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { randomBytes } from "node:crypto"
import { digestOfJson } from "../artifact/Digest.ts"
import { JobHandle } from "../capability/Jobs.ts"
import type { Plan } from "../plan/Plan.ts"
import { Durable, type DurableError } from "./Durable.ts"
import { JOB_ENDED, JobWatcher } from "./JobWatcher.ts"
import type { Run } from "./Run.ts"
import { type RunNotFound, RunStore, type RunStoreError } from "./RunStore.ts"
import { cancelJob, loadRun } from "./StepExecutor.ts"
import { makeWorkflow, Running, workflowId, type WorkflowServices } from "./workflow.ts"

export class RunHasEnded extends Schema.TaggedError<RunHasEnded>()("RunHasEnded", { runId: Schema.String, state: Schema.String, message: Schema.String }) {}

export interface Submission {
  readonly tenant: string
  readonly plan: Plan
  /** where the pipeline file lies: relative paths in options start here */
  readonly projectDirectory: string
  readonly by: string
  /** 12 hex characters. Whoever may ask twice for one run names it: the second time changes nothing. Absent: a new one. */
  readonly runId?: string
}

export class Runner extends Context.Service<
  Runner,
  {
    readonly submit: (submission: Submission) => Effect.Effect<string, RunStoreError | DurableError>
    /** Returns at once; the run ends as `cancelled` when its jobs are gone and its rewards settled. */
    readonly cancel: (runId: string, by: string) => Effect.Effect<void, RunNotFound | RunStoreError | RunHasEnded>
    /** A failed or cancelled run goes on from where it was; a running one is left alone. */
    readonly resume: (runId: string, by: string) => Effect.Effect<void, RunNotFound | RunStoreError | RunHasEnded | DurableError>
    /** At start-up: every run that has not ended goes on, every job is watched again. Returns how many runs. */
    readonly recover: Effect.Effect<number, RunNotFound | RunStoreError | DurableError>
  }
>()("@hypernode/engine/run/Runner") {
  /** `durable` builds the durable layer over the workflow: the embedded executor or a real Inngest server. */
  static readonly layer = <E, R>(executor: string, durable: (body: ReturnType<typeof makeWorkflow>) => Layer.Layer<Durable, E, R>) =>
    Layer.unwrap(
      Effect.gen(function*() {
        const context = yield* Effect.context<WorkflowServices>()
        const running = new Running()
        return Layer.effect(Runner, make(context, running)).pipe(Layer.provideMerge(durable(makeWorkflow(context, running, executor))))
      })
    )
}

const jobsOf = (run: Run): ReadonlyArray<{ readonly stepId: string; readonly handle: typeof JobHandle.Type }> =>
  run.steps.flatMap((step) => {
    const handle = Schema.decodeUnknownOption(JobHandle)(step.job)
    return step.state === "running" && Option.isSome(handle) ? [{ stepId: step.id, handle: handle.value }] : []
  })

const make = Effect.fnUntraced(function*(context: Context.Context<WorkflowServices>, running: Running) {
  const store = Context.get(context, RunStore)
  const watcher = Context.get(context, JobWatcher)
  const durable = yield* Durable
  const inContext = <A, E>(effect: Effect.Effect<A, E, WorkflowServices>) => Effect.provideContext(effect, context)

  yield* watcher.onEnded((job) => durable.send(JOB_ENDED, { job: job.handle.id }).pipe(Effect.ignore))

  const watchJobs = (run: Run) => Effect.forEach(jobsOf(run), ({ handle, stepId }) => watcher.watch({ runId: run.id, stepId, handle }), { discard: true })

  return Runner.of({
    submit: Effect.fn("Runner.submit")(function*({ by, plan, projectDirectory, runId = randomBytes(6).toString("hex"), tenant }) {
      yield* store.append(runId, { _tag: "RunQueued", plan, planDigest: digestOfJson(plan), tenant, projectDirectory, by }, { once: "queued" })
      yield* durable.start(runId)
      return runId
    }),
    cancel: Effect.fn("Runner.cancel")(function*(runId, by) {
      const run = yield* inContext(loadRun(runId))
      if (run.endedAt !== undefined) return yield* new RunHasEnded({ runId, state: run.state, message: `run ${runId} has already ended: ${run.state}` })
      yield* store.append(runId, { _tag: "RunCancelRequested", by }, { once: `cancel:${run.generation}` })
      running.stop(runId)
      const cancelling = yield* inContext(loadRun(runId))
      yield* Effect.forEach(jobsOf(cancelling), ({ stepId }) => inContext(cancelJob(cancelling, stepId)), { discard: true })
      yield* watchJobs(cancelling)
    }),
    resume: Effect.fn("Runner.resume")(function*(runId, by) {
      const run = yield* inContext(loadRun(runId))
      if (run.state === "succeeded") return yield* new RunHasEnded({ runId, state: run.state, message: `run ${runId} has succeeded: there is nothing to resume` })
      if (run.endedAt === undefined) return yield* durable.start(workflowId(runId, run.generation))
      const generation = run.generation + 1
      yield* store.append(runId, { _tag: "RunResumed", by, generation }, { once: `resumed:${generation}` })
      yield* durable.start(workflowId(runId, generation))
    }),
    recover: Effect.gen(function*() {
      const unfinished = yield* store.unfinished
      for (const runId of unfinished) {
        const run = yield* inContext(loadRun(runId))
        if (run.state === "cancelling") yield* Effect.forEach(jobsOf(run), ({ stepId }) => inContext(cancelJob(run, stepId)), { discard: true })
        yield* watchJobs(run)
        yield* durable.start(workflowId(runId, run.generation))
      }
      return unfinished.length
    })
  })
})
