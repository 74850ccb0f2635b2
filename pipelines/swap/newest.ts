/** A `checkpoint` plugin from outside: the last checkpoint as it is, for trainings that need no merge. */
import { pluginFrom } from "@hypernode/engine"

const plugin = pluginFrom(import.meta.url, "newest")

export const newest = () => plugin.use("checkpoint", {})

export default plugin.define(async () => {
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { ArtifactStore } = await import("@hypernode/engine/artifact/ArtifactStore")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { artifactFailure } = await import("@hypernode/engine/stage/artifactFailure")
  const { StageError } = await import("@hypernode/engine/stage/StageError")
  return definePlugin({
    id: "newest",
    version: "1.0.0",
    stages: {
      checkpoint: stage({
        kind: "checkpoint",
        effect: "pure",
        options: Schema.Struct({}),
        body: {
          run: Effect.fn("newest.checkpoint")(function*({ input: { trained } }) {
            const last = trained.checkpoints.toSorted((a, b) => a.step - b.step).at(-1)
            if (last === undefined || trained.method !== "full") return yield* new StageError({ reason: "InvalidInput", message: "newest() takes the checkpoints of a full fine-tuning", remedy: "Use safetensors()." })
            const store = yield* ArtifactStore
            for (const file of (yield* Effect.mapError(store.tree(last.tree), artifactFailure)).files) yield* Effect.mapError(store.path({ ...file, mediaType: "application/octet-stream" }), artifactFailure)
            return { base: trained.base, form: "full" as const, step: last.step, loss: last.loss, ...(last.evalLoss === undefined ? {} : { evalLoss: last.evalLoss }), tree: last.tree }
          })
        }
      })
    }
  })
})
