/**
 * A plugin in one file, beside the pipeline that uses it: deals segments to worker slots like cards. The factory is what a pipeline
 * file calls; the definition is a function, so that planning loads the schema and the stage only once it needs them.
 */
import { pluginFrom } from "@hypernode/engine"

const plugin = pluginFrom(import.meta.url, "round-robin")

export interface RoundRobinOptions {
  /** worker slots */
  readonly parts: number
}

export const roundRobin = (options: RoundRobinOptions) => plugin.use("shard", options)

export default plugin.define(async () => {
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { StageError } = await import("@hypernode/engine/stage/StageError")
  return definePlugin({
    id: "round-robin",
    version: "1.0.0",
    stages: {
      shard: stage({
        kind: "shard",
        effect: "pure",
        options: Schema.Struct({ parts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1024 })) }),
        body: {
          run: Effect.fn("round-robin.shard")(function*({ input: { sealed }, options: { parts } }) {
            if (sealed.segments.length < parts) {
              return yield* new StageError({
                reason: "InvalidInput",
                message: `${sealed.segments.length} segments cannot be dealt to ${parts} workers`,
                remedy: `shard into at most ${sealed.segments.length} parts, or seal smaller segments: age({ segmentRows: ... })`
              })
            }
            return {
              sealed,
              slots: Array.from({ length: parts }, (_, slot) => {
                const mine = sealed.segments.filter((segment) => segment.index % parts === slot)
                const sum = (of: "rows" | "bytes") => mine.reduce((total, segment) => total + segment[of], 0)
                return { slot, segments: mine.map((segment) => segment.index), rows: sum("rows"), bytes: sum("bytes") }
              })
            }
          })
        }
      })
    }
  })
})
