/** Options of `torchrun`, checked at plan time with their names in the message. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SandboxMode } from "@hypernode/engine/capability/Sandbox"

const grouped = (value: number): string => (value >= 10_000 ? value.toLocaleString("en-US") : String(value))

const whole = (name: string, minimum: number, maximum: number) =>
  Schema.Number.check(Schema.makeFilter((value) => (Number.isInteger(value) && value >= minimum && value <= maximum ? undefined : `${name} is a whole number from ${minimum} to ${grouped(maximum)}`)))

const number = (name: string, minimum: number, maximum: number, exclusive = false) =>
  Schema.Number.check(
    Schema.makeFilter((value) =>
      Number.isFinite(value) && (exclusive ? value > minimum : value >= minimum) && value <= maximum ? undefined : `${name} is a number ${exclusive ? `above ${minimum}, at most ${maximum}` : `from ${minimum} to ${maximum}`}`
    )
  )

export const Lora = Schema.Struct({
  rank: whole("lora.rank", 1, 256).pipe(Schema.withDecodingDefaultKey(Effect.succeed(8))),
  alpha: number("lora.alpha", 0, 4096, true).pipe(Schema.withDecodingDefaultKey(Effect.succeed(16))),
  dropout: number("lora.dropout", 0, 0.9).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  targets: Schema.Union([Schema.Literal("all-linear"), Schema.NonEmptyArray(Schema.String.check(Schema.isPattern(/^\w[\w.]{0,127}$/, { message: "lora.targets are names of modules, such as q_proj" })))]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("all-linear" as const))
  )
})

export const Options = Schema.Struct({
  method: Schema.Literals(["full", "lora"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("lora" as const))),
  epochs: number("epochs", 0, 10_000, true).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  maxSteps: Schema.optionalKey(whole("maxSteps", 1, 1_000_000_000)),
  lr: Schema.optionalKey(number("lr", 0, 10, true)),
  batchSize: whole("batchSize", 1, 65_536).pipe(Schema.withDecodingDefaultKey(Effect.succeed(8))),
  gradientAccumulation: whole("gradientAccumulation", 1, 65_536).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  sequenceLength: whole("sequenceLength", 2, 1_048_576).pipe(Schema.withDecodingDefaultKey(Effect.succeed(512))),
  warmupSteps: whole("warmupSteps", 0, 1_000_000_000).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  schedule: Schema.Literals(["constant", "linear", "cosine"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("linear" as const))),
  weightDecay: number("weightDecay", 0, 10).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  gradClip: number("gradClip", 0, 1_000_000).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  seed: whole("seed", 0, Number.MAX_SAFE_INTEGER).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  lora: Schema.optionalKey(Lora),
  evalFraction: number("evalFraction", 0, 0.5).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
  evalEvery: Schema.optionalKey(whole("evalEvery", 1, 1_000_000_000)),
  checkpointEvery: whole("checkpointEvery", 1, 1_000_000_000).pipe(Schema.withDecodingDefaultKey(Effect.succeed(100))),
  keepCheckpoints: whole("keepCheckpoints", 1, 1000).pipe(Schema.withDecodingDefaultKey(Effect.succeed(3))),
  sandbox: SandboxMode.pipe(Schema.withDecodingDefaultKey(Effect.succeed("required" as const))),
  device: Schema.Literals(["auto", "cpu", "cuda"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto" as const)))
}).check(Schema.makeFilter((options) => (options.method === "full" && options.lora !== undefined ? `lora has no effect with method "full": leave one of them out` : undefined)))
export type Options = typeof Options.Type
