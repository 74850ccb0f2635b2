/** One line a worker writes to `HYPER_TELEMETRY`. Counters, never data rows. Field names are fixed: signed bytes depend on them. */
import * as Schema from "effect/Schema"

export const Sample = Schema.Struct({
  /** epoch milliseconds */
  at: Schema.Int,
  rank: Schema.Int,
  kind: Schema.Literals(["step", "eval", "checkpoint", "phase", "work"]),
  step: Schema.Int,
  totalSteps: Schema.optionalKey(Schema.Int),
  epoch: Schema.optionalKey(Schema.Number),
  loss: Schema.optionalKey(Schema.Number),
  evalLoss: Schema.optionalKey(Schema.Number),
  learningRate: Schema.optionalKey(Schema.Number),
  gradNorm: Schema.optionalKey(Schema.Number),
  /** tokens since this rank's last sample */
  tokens: Schema.optionalKey(Schema.Int),
  tokensPerSecond: Schema.optionalKey(Schema.Number),
  /** device-busy milliseconds since this rank's last sample: what is paid */
  workMilliseconds: Schema.optionalKey(Schema.Int),
  memoryBytes: Schema.optionalKey(Schema.Int),
  /** `phase`: loading, training, resumed, saving, done; `checkpoint`: path below the job directory */
  text: Schema.optionalKey(Schema.String)
})
export type Sample = typeof Sample.Type

/** A signed batch: `digest` = sha-256 of canonical JSON of {job, node, sequence, previous, samples}; `signature` = ed25519 over the digest's raw bytes, base64. */
export const SignedBatch = Schema.Struct({
  job: Schema.String,
  /** node identity: base64 of the raw ed25519 public key */
  node: Schema.String,
  sequence: Schema.Int,
  previous: Schema.String,
  samples: Schema.Array(Sample),
  digest: Schema.String,
  signature: Schema.String
})
export type SignedBatch = typeof SignedBatch.Type
