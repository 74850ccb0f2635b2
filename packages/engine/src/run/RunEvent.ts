/** The event log's vocabulary. The log is the truth; a run is a pure fold over it. */
import * as Schema from "effect/Schema"
import { Plan } from "../plan/Plan.ts"

const step = { step: Schema.String }

export const RunEvent = Schema.TaggedUnion({
  RunQueued: { plan: Plan, planDigest: Schema.String, tenant: Schema.String, projectDirectory: Schema.String, by: Schema.String },
  RunStarted: { executor: Schema.String },
  StepStarted: { ...step, attempt: Schema.Int },
  StepCached: { ...step, output: Schema.Json, cacheKey: Schema.String, fromRun: Schema.String },
  StepProgress: { ...step, label: Schema.String, done: Schema.Number, total: Schema.optionalKey(Schema.Number), unit: Schema.String },
  StepLog: { ...step, level: Schema.Literals(["info", "warn"]), message: Schema.String },
  /** a long stage's job is running; `job` is a JobHandle */
  StepJobStarted: { ...step, attempt: Schema.Int, job: Schema.Json },
  StepEnded: { ...step, attempt: Schema.Int, output: Schema.Json, cacheKey: Schema.String },
  StepFailed: { ...step, attempt: Schema.Int, reason: Schema.String, message: Schema.String, remedy: Schema.optionalKey(Schema.String), final: Schema.Boolean },
  RunCancelRequested: { by: Schema.String },
  /** a failed or cancelled run goes on: steps that ended stay ended, the others are tried anew; `generation` counts from 2 */
  RunResumed: { by: Schema.String, generation: Schema.Int },
  RunEnded: { outcome: Schema.Literals(["succeeded", "failed", "cancelled"]) }
})
export type RunEvent = typeof RunEvent.Type

/** As stored: `seq` from 1 without gaps inside a run, `at` epoch milliseconds. */
export const StoredEvent = Schema.Struct({ runId: Schema.String, seq: Schema.Int, at: Schema.Int, event: RunEvent })
export type StoredEvent = typeof StoredEvent.Type
