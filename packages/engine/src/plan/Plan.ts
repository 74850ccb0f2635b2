/** The plan: plain JSON, versioned, hashable, diffable. The engine executes plans, never user code. */
import * as Schema from "effect/Schema"
import { Digest } from "../artifact/Digest.ts"

export const PLAN_VERSION = 1

/** An input: output of an earlier step, or one property of it. */
export const WireRef = Schema.Struct({ step: Schema.String, path: Schema.Array(Schema.String) })
export type WireRef = typeof WireRef.Type

export const PlanStep = Schema.Struct({
  /** the kind, or `kind-2` and so on; unique in the plan, stable under edits elsewhere */
  id: Schema.String,
  kind: Schema.String,
  plugin: Schema.Struct({
    id: Schema.String,
    specifier: Schema.String,
    version: Schema.String,
    /** over the plugin's source files */
    sourceDigest: Digest,
    contractVersion: Schema.Int
  }),
  /** encoded by the plugin's schema, defaults filled in; secrets as { $secret } */
  options: Schema.Json,
  inputs: Schema.Record(Schema.String, WireRef)
})
export type PlanStep = typeof PlanStep.Type

export const Plan = Schema.Struct({
  version: Schema.Literal(PLAN_VERSION),
  pipeline: Schema.String,
  /** values used, with defaults */
  params: Schema.Record(Schema.String, Schema.Json),
  /** names only */
  secrets: Schema.Array(Schema.String),
  /** topologically sorted */
  steps: Schema.Array(PlanStep)
})
export type Plan = typeof Plan.Type
