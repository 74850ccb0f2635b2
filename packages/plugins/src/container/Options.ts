/** Options of `container`, checked at plan time. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const path = Schema.String.check(Schema.isPattern(/^\/\P{Cc}*$/u, { message: "an absolute path" }))

export const Options = Schema.Struct({
  image: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w][\w.:/@-]{0,511}$/, { message: "the name or id of an image" }))),
  command: Schema.optionalKey(Schema.Array(Schema.String)),
  port: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65535 }))),
  network: Schema.String.check(Schema.isPattern(/^[\w.-]+$/)).pipe(Schema.withDecodingDefaultKey(Effect.succeed("bridge"))),
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w][\w./:-]{0,127}$/))),
  model: Schema.optionalKey(Schema.NonEmptyString),
  chat: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  memory: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 16, maximum: 16_777_216 }))),
  gpus: Schema.optionalKey(Schema.Union([Schema.Literal("all"), Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 }))])),
  user: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[1-9]\d*:\d+$/, { message: "uid:gid in numbers, and not root" }))),
  env: Schema.Record(Schema.String, Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  mounts: Schema.Array(path).pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  readySeconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 86_400 })).pipe(Schema.withDecodingDefaultKey(Effect.succeed(900)))
}).check(
  Schema.makeFilter(({ image, port }) =>
    (image === undefined) === (port === undefined) ? undefined : image === undefined ? "port belongs to an image of your own: the package's image listens on a socket" : "port is missing: where does the server in this image listen?")
)
export type Options = typeof Options.Type
