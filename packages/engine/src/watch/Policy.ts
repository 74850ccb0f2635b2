/**
 * What pipeline files of a repository may do here. It is the operator's: it comes from the operator's own disk, never from the
 * repository, because whoever may push could otherwise permit himself. Everything that is not permitted is refused, with the line that
 * would permit it.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const withDefault = <S extends Schema.Top>(schema: S, value: S["Type"]) => schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value as never)))
const Strings = Schema.Array(Schema.NonEmptyString)

export const Limits = Schema.Struct({
  /** of wall time, from the run's start; then it is cancelled */
  seconds: Schema.optionalKey(Schema.Number.check(Schema.isGreaterThan(0))),
  /** of measured device time; then it is cancelled */
  dollars: Schema.optionalKey(Schema.Number.check(Schema.isGreaterThan(0)))
})
export type Limits = typeof Limits.Type

export const Policy = Schema.Struct({
  /** false: plan only */
  run: withDefault(Schema.Boolean, false),
  /** files and directories of the repository whose pipelines may run; absent: all that are watched */
  paths: Schema.optionalKey(Strings),
  /** plugins that are loaded: a package, or one of its subpaths; `./` permits plugin files of the repository, which run with all rights of the daemon */
  plugins: withDefault(Strings, ["@hypernode/plugins"]),
  /** names of secrets that a pipeline may ask for */
  secrets: withDefault(Strings, []),
  /** hosts that stages may fetch from */
  hosts: withDefault(Strings, ["huggingface.co"]),
  /** absolute directories outside the repository that options may name */
  data: withDefault(Strings, []),
  /** whether a step may ask for no sandbox (`sandbox: "none"`, or `"auto"` where this machine has none) */
  unconfined: withDefault(Schema.Boolean, false),
  /** values of pipeline parameters */
  params: withDefault(Schema.Record(Schema.String, Schema.Json), {}),
  limits: withDefault(Limits, {})
})
export type Policy = typeof Policy.Type

/** Without a policy file. */
export const planOnly: Policy = Schema.decodeUnknownSync(Policy)({})

/** Throws an Error whose message says what is wrong with the text. */
export const readPolicy = (text: string): Policy => Schema.decodeUnknownSync(Policy)(JSON.parse(text), { errors: "all", onExcessProperty: "error" })
