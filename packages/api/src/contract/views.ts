/** What the API shows beyond the engine's own shapes (Run, StoredEvent, Plan, Settlement are the engine's, as they are). */
import { RunState, StepState } from "@hypernode/engine/run/Run"
import { Endpoint, Settlement } from "@hypernode/engine/stage/values"
import { Sample } from "@hypernode/engine/telemetry/Sample"
import { Plan } from "@hypernode/engine/plan/Plan"
import * as Schema from "effect/Schema"

export const RunSummary = Schema.Struct({
  id: Schema.String,
  pipeline: Schema.String,
  state: RunState,
  by: Schema.String,
  createdAt: Schema.Int,
  startedAt: Schema.optionalKey(Schema.Int),
  endedAt: Schema.optionalKey(Schema.Int),
  steps: Schema.Array(Schema.Struct({ id: Schema.String, kind: Schema.String, state: StepState })),
  /** of the step that runs or failed, in words */
  detail: Schema.optionalKey(Schema.String),
  lastLoss: Schema.optionalKey(Schema.Number),
  dollars: Schema.optionalKey(Schema.Number)
})
export type RunSummary = typeof RunSummary.Type

/** A sample as stored: `id` grows, and is the cursor. */
export const SampleRow = Schema.Struct({ ...Sample.fields, id: Schema.Int, stepId: Schema.String, node: Schema.String })
export type SampleRow = typeof SampleRow.Type

/** A piece of a job's output. `nextOffset` is where to go on, in bytes. */
export const LogChunk = Schema.Struct({ text: Schema.String, nextOffset: Schema.Int, stepId: Schema.optionalKey(Schema.String), attempt: Schema.optionalKey(Schema.Int) })
export type LogChunk = typeof LogChunk.Type

export const Cost = Schema.Struct({
  /** spent so far */
  dollars: Schema.Number,
  deviceSeconds: Schema.Number,
  /** dollars per device second */
  pricePerSecond: Schema.Number,
  forecastDollars: Schema.optionalKey(Schema.Number),
  budgetDollars: Schema.optionalKey(Schema.Number)
})
export type Cost = typeof Cost.Type

export const Explanation = Schema.Struct({
  sentence: Schema.String,
  node: Schema.String,
  terms: Schema.Array(Schema.Struct({ name: Schema.String, weight: Schema.Number, mine: Schema.Number, all: Schema.Number, units: Schema.String })),
  samples: Schema.Struct({
    accepted: Schema.Int,
    rejected: Schema.Array(Schema.Struct({ reason: Schema.String, remedy: Schema.String, count: Schema.Int }))
  }),
  batches: Schema.Array(Schema.String),
  unlocksAt: Schema.Int
})
export type ExplanationView = typeof Explanation.Type

export const Rewards = Schema.Struct({ settlement: Schema.optionalKey(Settlement), explanations: Schema.Array(Explanation) })
export type Rewards = typeof Rewards.Type

export const EndpointView = Schema.Struct({
  ...Endpoint.fields,
  runId: Schema.String,
  state: Schema.Literals(["starting", "healthy", "unhealthy", "stopped"]),
  /** epoch milliseconds of the last real completion */
  lastCompletionAt: Schema.NullOr(Schema.Int)
})
export type EndpointView = typeof EndpointView.Type

export const PlanNoteView = Schema.Struct({
  level: Schema.Literals(["info", "warn", "refuse"]),
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String),
  step: Schema.optionalKey(Schema.String)
})

const Span = Schema.Tuple([Schema.Number, Schema.Number])

export const EstimateView = Schema.Struct({
  /** low and high */
  seconds: Schema.optionalKey(Span),
  dollars: Schema.optionalKey(Span),
  downloadBytes: Schema.optionalKey(Schema.Number),
  sideEffects: Schema.Array(Schema.String),
  tools: Schema.Array(Schema.String),
  hosts: Schema.Array(Schema.String)
})

export const PlanView = Schema.Struct({
  plan: Plan,
  digest: Schema.String,
  steps: Schema.Array(Schema.Struct({ id: Schema.String, cached: Schema.Boolean, why: Schema.String })),
  /** by step id */
  estimates: Schema.Record(Schema.String, EstimateView),
  warnings: Schema.Array(PlanNoteView)
})
export type PlanView = typeof PlanView.Type

export const CatalogueModel = Schema.Struct({
  /** what a form's `model` takes */
  model: Schema.String,
  name: Schema.String,
  /** `local`: a directory; `hub`: fetched when first used; `own`: the packaged result of a run */
  source: Schema.Literals(["local", "hub", "own"]),
  parameters: Schema.optionalKey(Schema.Int),
  bytes: Schema.optionalKey(Schema.Int),
  license: Schema.optionalKey(Schema.String),
  cached: Schema.optionalKey(Schema.Boolean),
  /** of an own result */
  runId: Schema.optionalKey(Schema.String),
  digest: Schema.optionalKey(Schema.String),
  base: Schema.optionalKey(Schema.String),
  loss: Schema.optionalKey(Schema.Number),
  evalLoss: Schema.optionalKey(Schema.Number)
})
export type CatalogueModel = typeof CatalogueModel.Type

/** What a person finds to choose from when starting a job on this machine. */
export const Catalogue = Schema.Struct({ models: Schema.Array(CatalogueModel), datasets: Schema.Array(Schema.Struct({ dataset: Schema.String, name: Schema.String, bytes: Schema.Int })) })
export type Catalogue = typeof Catalogue.Type

export const Dashboard = Schema.Struct({
  tenant: Schema.String,
  runs: Schema.Struct({ total: Schema.Int, running: Schema.Int, succeeded: Schema.Int, failed: Schema.Int, cancelled: Schema.Int }),
  recent: Schema.Array(RunSummary),
  endpoints: Schema.Array(EndpointView),
  cost: Schema.Struct({ dollars: Schema.Number, deviceSeconds: Schema.Number }),
  /** base units as decimal strings; 1 HYPER = 10^9 */
  balances: Schema.Array(Schema.Struct({ account: Schema.String, units: Schema.String }))
})
export type Dashboard = typeof Dashboard.Type

export const Info = Schema.Struct({
  version: Schema.String,
  /** `embedded`, or the URL of the Inngest server */
  executor: Schema.String,
  /** a container engine answers: a new job is packaged as an image unless it says otherwise */
  containers: Schema.Boolean
})
export type Info = typeof Info.Type
