/** All that settled one pool, as a file that anybody can recompute it from. */
import * as Schema from "effect/Schema"
import { Settlement } from "../stage/values.ts"
import { SignedBatch } from "../telemetry/Sample.ts"

export const Basis = Schema.Struct({
  openedAt: Schema.Number,
  deviceClasses: Schema.Record(Schema.String, Schema.String),
  exclusions: Schema.Array(Schema.Struct({
    job: Schema.optionalKey(Schema.String),
    node: Schema.optionalKey(Schema.String),
    reason: Schema.String,
    remedy: Schema.String
  }))
})

export const Epoch = Schema.Struct({
  format: Schema.Literal("hypernode-epoch-v1"),
  runId: Schema.String,
  stepId: Schema.String,
  policy: Schema.String,
  /** base units, decimal */
  poolUnits: Schema.String.check(Schema.isPattern(/^[1-9]\d*$/)),
  /** milliseconds */
  challengeWindow: Schema.Number,
  /** epoch milliseconds */
  settledAt: Schema.Number,
  basis: Basis,
  batches: Schema.Array(Schema.Struct({ receivedAt: Schema.Number, batch: SignedBatch })),
  settlement: Settlement
})
export type Epoch = typeof Epoch.Type
