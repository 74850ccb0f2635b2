/** A `train` plugin from outside that stands on another: torchrun's stage under a limit of its own that no pipeline can pass. */
import { pluginFrom } from "@hypernode/engine"

const plugin = pluginFrom(import.meta.url, "thrifty")

export interface ThriftyOptions {
  /** steps at most */
  readonly steps: number
}

export const thrifty = (options: ThriftyOptions) => plugin.use("train", options)

export default plugin.define(async () => {
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { default: torchrun } = await import("@hypernode/plugins/torchrun/plugin")
  const inner = torchrun.stages.train
  if (inner === undefined || !("start" in inner.body)) throw new Error("torchrun has no long train stage")
  const { body, fingerprint } = inner
  const all = (options: ThriftyOptions): unknown => Schema.decodeUnknownSync(inner.options)({ method: "full", maxSteps: Math.min(4, options.steps), batchSize: 8, checkpointEvery: 2, seed: 7, sandbox: "auto" })
  return definePlugin({
    id: "thrifty",
    version: "1.0.0",
    stages: {
      train: stage({
        kind: "train",
        effect: "pure",
        options: Schema.Struct({ steps: Schema.Int.check(Schema.isGreaterThan(0)) }),
        fingerprint: (options, context) => fingerprint?.(all(options), context) ?? Effect.succeed(null),
        body: {
          start: (context) => body.start({ ...context, options: all(context.options) }),
          collect: (context, handle) => body.collect({ ...context, options: all(context.options) }, handle),
          cancel: (context, handle) => body.cancel({ ...context, options: all(context.options) }, handle)
        }
      })
    }
  })
})
