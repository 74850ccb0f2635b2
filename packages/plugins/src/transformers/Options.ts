/** Options of `transformers`, checked at plan time. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const Options = Schema.Struct({
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w][\w./:-]{0,127}$/))),
  port: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65535 }))),
  maxTokens: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1024))),
  device: Schema.String.check(Schema.isPattern(/^(auto|cpu|mps|cuda(:\d+)?)$/)).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto"))),
  probe: Schema.optionalKey(Schema.NonEmptyString)
})
export type Options = typeof Options.Type
