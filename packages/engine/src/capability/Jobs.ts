/**
 * Supervised processes: training jobs and endpoints. A small detached supervisor owns each process, its log, its exit status and
 * its telemetry in a job directory, knows no SQL, and survives the daemon (design.md, section 4).
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export class JobError extends Schema.TaggedError<JobError>()("JobError", { message: Schema.String, remedy: Schema.optionalKey(Schema.String) }) {}

/** What `start` stores and everything else finds the job by. `id` is derived from the job key, so starting twice gives the same job. */
export const JobHandle = Schema.Struct({
  id: Schema.String,
  /** of the supervisor: pid + boot id + start time (field 22 of /proc/<pid>/stat; `ps -o lstart=` on macOS) */
  supervisor: Schema.String,
  directory: Schema.String
})
export type JobHandle = typeof JobHandle.Type

export const JobState = Schema.TaggedUnion({
  Starting: {},
  /** `note`: what the supervisor could not do (a full disk, a line that was no sample) */
  Running: { pid: Schema.Int, startedAt: Schema.Int, note: Schema.optionalKey(Schema.String) },
  Ended: { exitCode: Schema.NullOr(Schema.Int), signal: Schema.NullOr(Schema.String), startedAt: Schema.Int, endedAt: Schema.Int, cancelled: Schema.Boolean, note: Schema.optionalKey(Schema.String) },
  /** supervisor gone without a status: its child, if any, has been ended */
  Lost: { message: Schema.String }
})
export type JobState = typeof JobState.Type

export interface JobSpec {
  /** `train`, `serve`: for listing */
  readonly purpose: string
  readonly runId: string
  readonly stepId: string
  readonly command: readonly [string, ...Array<string>]
  readonly cwd?: string
  /** the whole environment: nothing is inherited but what stands here. No secrets: `stdin` is for those. */
  readonly env: Readonly<Record<string, string>>
  /** JSON handed to the process on standard input, never written to disk */
  readonly stdin?: string
  /** restarts of the process by the supervisor after a bad exit (endpoints) */
  readonly restarts?: number
  /** SIGTERM, then SIGKILL after so many milliseconds (default 10,000) */
  readonly graceMillis?: number
}

/**
 * Files in a job directory: `spec.json`, `supervisor.json` {pid, bootId, startTime}, `status.json` (JobState, atomic rename),
 * `output.log` (stdout + stderr), `telemetry.jsonl` (lines the process writes to `HYPER_TELEMETRY`), `batches.jsonl`
 * (signed hash-chained batches), and what the plugin puts there.
 */
export class Jobs extends Context.Service<
  Jobs,
  {
    /** The directory that `start` will use; made on demand, mode 0700. */
    readonly directory: (jobKey: string) => Effect.Effect<string, JobError>
    /** Idempotent on `jobKey`. */
    readonly start: (jobKey: string, spec: JobSpec) => Effect.Effect<JobHandle, JobError>
    readonly state: (handle: JobHandle) => Effect.Effect<JobState, JobError>
    /** Completes when the job has ended; safe to interrupt; works for jobs that an earlier daemon started. */
    readonly ended: (handle: JobHandle) => Effect.Effect<JobState, JobError>
    /** Idempotent: the whole process group is gone when it returns. */
    readonly cancel: (handle: JobHandle) => Effect.Effect<void, JobError>
    readonly list: Effect.Effect<ReadonlyArray<{ readonly handle: JobHandle; readonly purpose: string; readonly runId: string; readonly stepId: string }>, JobError>
  }
>()("@hypernode/engine/capability/Jobs") {}
