/**
 * Follows the jobs of this daemon's runs: takes in their telemetry while they run, and tells the durable layer when one has ended.
 * Losing the watcher loses nothing: the workflow also polls, slowly, and a new daemon watches again.
 */
import { Context, Duration, Effect, Layer, Scope } from "effect"
import { type JobHandle, Jobs } from "../capability/Jobs.ts"
import type { Sample } from "../telemetry/Sample.ts"
import { TelemetryStore } from "../telemetry/TelemetryStore.ts"
import { RunStore } from "./RunStore.ts"

export const JOB_ENDED = "hyper/job.ended"

const INGEST_EVERY = Duration.millis(500)
const PROGRESS_EVERY_MILLIS = 2_000
/** The wait may be registered a moment after the job ended, so the event is sent more than once; a duplicate wakes nobody. */
const REPEATS = [Duration.zero, Duration.millis(200), Duration.seconds(1), Duration.seconds(5)]

export interface Watched {
  readonly runId: string
  readonly stepId: string
  readonly handle: typeof JobHandle.Type
}

export class JobWatcher extends Context.Service<
  JobWatcher,
  {
    /** Idempotent on the job's id. */
    readonly watch: (job: Watched) => Effect.Effect<void>
    /** Set once by the Runner: how an ended job reaches the durable layer. */
    readonly onEnded: (send: (job: Watched) => Effect.Effect<void>) => Effect.Effect<void>
  }
>()("@hypernode/engine/run/JobWatcher") {
  static readonly layer = Layer.effect(
    JobWatcher,
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const telemetry = yield* TelemetryStore
      const runs = yield* RunStore
      const scope = yield* Effect.scope
      const watching = new Set<string>()
      let send: (job: Watched) => Effect.Effect<void> = () => Effect.void
      let lastProgress = 0

      const report = (job: Watched, samples: ReadonlyArray<Sample>): Effect.Effect<void> => {
        const step = samples.findLast((s) => s.kind === "step" && s.rank === 0)
        const now = Date.now()
        if (step === undefined || now - lastProgress < PROGRESS_EVERY_MILLIS) return Effect.void
        lastProgress = now
        const loss = step.loss === undefined ? "" : `, loss ${step.loss.toFixed(3)}`
        return runs
          .append(job.runId, {
            _tag: "StepProgress",
            step: job.stepId,
            label: `training${loss}`,
            done: step.step,
            unit: "steps",
            ...(step.totalSteps === undefined ? {} : { total: step.totalSteps })
          })
          .pipe(Effect.ignore)
      }

      const ingest = (job: Watched) =>
        telemetry.ingest(job.runId, job.stepId, job.handle.directory).pipe(
          Effect.flatMap((samples) => report(job, samples)),
          Effect.catch((error) => runs.append(job.runId, { _tag: "StepLog", step: job.stepId, level: "warn", message: `telemetry: ${error.message}` }).pipe(Effect.ignore))
        )

      const follow = Effect.fnUntraced(function*(job: Watched) {
        yield* Effect.raceFirst(jobs.ended(job.handle).pipe(Effect.ignore), Effect.forever(Effect.andThen(ingest(job), Effect.sleep(INGEST_EVERY))))
        yield* ingest(job)
        for (const pause of REPEATS) {
          yield* Effect.sleep(pause)
          yield* send(job)
        }
      })

      return JobWatcher.of({
        watch: (job) =>
          Effect.suspend(() => {
            if (watching.has(job.handle.id)) return Effect.void
            watching.add(job.handle.id)
            return follow(job).pipe(
              Effect.ensuring(Effect.sync(() => watching.delete(job.handle.id))),
              Effect.forkIn(scope as Scope.Scope),
              Effect.asVoid
            )
          }),
        onEnded: (f) => Effect.sync(() => { send = f })
      })
    })
  )
}
