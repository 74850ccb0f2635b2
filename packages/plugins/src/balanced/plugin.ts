/** `balanced` (shard): which worker slot opens which segments. Pure: it moves no bytes and knows no keys. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { assign } from "./assign.ts"

/** More slots than any gang here could have; a typing error otherwise makes a plan that cannot run. */
const MAX_PARTS = 4096

export const Options = Schema.Struct({ parts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_PARTS })) })
export type Options = typeof Options.Type

export default definePlugin({
  id: "balanced",
  version: "0.1.0",
  stages: {
    shard: stage({
      kind: "shard",
      effect: "pure",
      options: Options,
      estimate: () => Effect.succeed({ notes: [], sideEffects: [], tools: [], hosts: [] }),
      body: {
        run: Effect.fn("balanced.shard")(function*(context) {
          const { input: { sealed }, options: { parts } } = context
          const count = sealed.segments.length
          if (count < parts) {
            return yield* new StageError({
              reason: "InvalidInput",
              message: `${count} segment${count === 1 ? "" : "s"} cannot fill ${parts} slots: the data set has ${sealed.rows} row${sealed.rows === 1 ? "" : "s"}.`,
              remedy: sealed.rows >= parts
                ? `Seal smaller segments, age({ segmentRows: ${Math.max(1, Math.floor(sealed.rows / parts / 4))} }), or ask for ${count} or fewer parts.`
                : `Ask for ${Math.max(1, count)} or fewer parts.`
            })
          }
          const slots = assign(sealed.segments, parts)
          const progress = yield* Progress
          const unit = slots[0]?.tokens === undefined ? "bytes" : "tokens"
          const loads = slots.map((slot) => slot.tokens ?? slot.bytes)
          yield* progress.log(`${count} segments over ${parts} slot${parts === 1 ? "" : "s"}: ${Math.min(...loads)} to ${Math.max(...loads)} ${unit} each`)
          return { sealed, slots }
        })
      }
    })
  }
})
