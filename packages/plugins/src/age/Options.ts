/** Options of `age`, defaults filled in. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const MIN_SEGMENT_BYTES = 64 << 10
export const MAX_SEGMENT_BYTES = 64 << 20

const Recipient = Schema.String.check(Schema.isPattern(/^age1[02-9ac-hj-np-z]{58}$/, { message: "an age recipient of the native kind (age1 and 58 characters, as age-keygen prints it)" }))

export const Options = Schema.Struct({
  recipients: Schema.Array(Recipient).pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  segmentBytes: Schema.Int.check(Schema.isBetween({ minimum: MIN_SEGMENT_BYTES, maximum: MAX_SEGMENT_BYTES })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(4 << 20))),
  segmentRows: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0)))
})
export type Options = typeof Options.Type
