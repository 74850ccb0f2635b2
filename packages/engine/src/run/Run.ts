/** A run as a pure fold (fold.ts) over its events: the one shape that CLI, API and page show. */
import * as Schema from "effect/Schema"
import { Plan } from "../plan/Plan.ts"

export const StepState = Schema.Literals(["waiting", "running", "done", "cached", "failed", "cancelled"])
export type StepState = typeof StepState.Type

export const AttemptView = Schema.Struct({
  attempt: Schema.Int,
  startedAt: Schema.Int,
  endedAt: Schema.optionalKey(Schema.Int),
  outcome: Schema.Literals(["running", "done", "failed"]),
  message: Schema.optionalKey(Schema.String)
})

export const StepView = Schema.Struct({
  id: Schema.String,
  kind: Schema.String,
  plugin: Schema.String,
  /** ids of the steps whose output this one takes */
  needs: Schema.Array(Schema.String),
  state: StepState,
  attempts: Schema.Array(AttemptView),
  startedAt: Schema.optionalKey(Schema.Int),
  endedAt: Schema.optionalKey(Schema.Int),
  output: Schema.optionalKey(Schema.Json),
  cacheKey: Schema.optionalKey(Schema.String),
  fromRun: Schema.optionalKey(Schema.String),
  job: Schema.optionalKey(Schema.Json),
  progress: Schema.optionalKey(
    Schema.Struct({ label: Schema.String, done: Schema.Number, total: Schema.optionalKey(Schema.Number), unit: Schema.String })
  ),
  error: Schema.optionalKey(Schema.Struct({ reason: Schema.String, message: Schema.String, remedy: Schema.optionalKey(Schema.String) }))
})
export type StepView = typeof StepView.Type

export const RunState = Schema.Literals(["queued", "running", "cancelling", "succeeded", "failed", "cancelled"])
export type RunState = typeof RunState.Type

export const Run = Schema.Struct({
  id: Schema.String,
  pipeline: Schema.String,
  tenant: Schema.String,
  by: Schema.String,
  state: RunState,
  executor: Schema.optionalKey(Schema.String),
  plan: Plan,
  planDigest: Schema.String,
  projectDirectory: Schema.String,
  createdAt: Schema.Int,
  startedAt: Schema.optionalKey(Schema.Int),
  endedAt: Schema.optionalKey(Schema.Int),
  /** 1, and one more for every resume */
  generation: Schema.Int,
  /** seq of the last event folded in */
  lastSeq: Schema.Int,
  steps: Schema.Array(StepView)
})
export type Run = typeof Run.Type

export { foldEvent, foldRun } from "./fold.ts"
