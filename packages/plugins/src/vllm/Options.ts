/** Options of `vllm`, checked at plan time: vLLM itself would say it minutes later. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

export const Options = Schema.Struct({
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\w][\w./:-]{0,127}$/))),
  port: Schema.optionalKey(whole(1, 65535)),
  device: Schema.Literals(["auto", "cpu"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto" as const))),
  dtype: Schema.Literals(["auto", "float16", "bfloat16", "float32"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto" as const))),
  maxModelLen: Schema.optionalKey(whole(16, 16_777_216)),
  tensorParallel: whole(1, 64).pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  gpuMemoryUtilization: Schema.optionalKey(
    Schema.Finite.check(Schema.makeFilter((value) => (value > 0 && value <= 1 ? undefined : "gpuMemoryUtilization is a share of the GPU's memory: above 0, at most 1")))
  ),
  maxSequences: Schema.optionalKey(whole(1, 65_536)),
  eager: Schema.optionalKey(Schema.Boolean)
}).check(
  Schema.makeFilter((options) => {
    if (options.device !== "cpu") return undefined
    if (options.gpuMemoryUtilization !== undefined) return 'gpuMemoryUtilization has no effect with device "cpu": leave one of them out'
    if (options.tensorParallel > 1) return 'tensorParallel is a number of GPUs: leave it out with device "cpu"'
    return undefined
  })
)
export type Options = typeof Options.Type
