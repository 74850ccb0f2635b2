/** Options of `oci-image`, checked at plan time. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** As `oci` has it. */
const NAME = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/
/** `[host[:port]/]path[:tag][@sha256:digest]` (distribution/reference) */
const REFERENCE = /^(?:[a-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$/i

/** Of Docker Hub's python:3.12-slim-bookworm, for all platforms (September 2026). A tag alone would change under a plan. */
export const DEFAULT_BASE = "python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254"

export const Options = Schema.Struct({
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(NAME, { message: "lower-case letters and digits, with . _ - between them" }), Schema.isMaxLength(128))),
  tag: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^\w[\w.-]{0,127}$/, { message: "letters, digits, _ . -; at most 128" }))),
  base: Schema.String.check(Schema.isPattern(REFERENCE, { message: "the name of an image, such as python:3.12-slim@sha256:..." })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(DEFAULT_BASE))),
  install: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  network: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w.-]+$/))),
  maxTokens: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1024))),
  annotations: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})
export type Options = typeof Options.Type
