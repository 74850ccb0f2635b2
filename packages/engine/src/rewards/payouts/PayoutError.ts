/** Why a payout did not go on. Never holds key bytes, nor an RPC address beyond its host (it may carry an API key). */
import * as Schema from "effect/Schema"

export const PayoutReason = Schema.Literals([
  "Refused", // a limit, a wrong setting, a bad address: somebody must change something
  "NotFound", // no such payout
  "Unavailable" // the network or the database did not answer: tried again
])

export class PayoutError extends Schema.TaggedError<PayoutError>()("PayoutError", {
  reason: PayoutReason,
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String)
}) {}
