/**
 * The one error a stage fails with. `reason` says what kind of failure it was and so whether the durable layer tries again;
 * `message` says what is wrong and where; `remedy` what to do next. Neither may hold a secret or a data row.
 */
import * as Schema from "effect/Schema"

export const StageErrorReason = Schema.Literals([
  "InvalidInput", // the user's file, option or data is wrong: never retried
  "Unavailable", // something out of reach, may come back: retried
  "Missing", // a tool, artifact or key is not there: not retried
  "Corrupt", // a digest or signature does not match: not retried
  "OutOfSpace", // disk or memory: not retried
  "JobFailed", // the process ended badly: retried while attempts are left
  "Cancelled", // somebody asked: not retried
  "Denied", // policy, budget or credentials: not retried
  "Internal" // ours: retried once, then reported with its cause
])
export type StageErrorReason = typeof StageErrorReason.Type

export class StageError extends Schema.TaggedError<StageError>()("StageError", {
  reason: StageErrorReason,
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String),
  /** seconds */
  retryAfter: Schema.optionalKey(Schema.Number)
}) {
  get isRetryable(): boolean {
    return this.reason === "Unavailable" || this.reason === "JobFailed" || this.reason === "Internal"
  }
}
