/** Which directories a server needs of a package, laid out below its job directory (hard links, so that it costs no space). */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import type { Exported } from "@hypernode/engine/stage/values"

export interface ServerFiles {
  /** config and weights */
  readonly model: string
  readonly tokenizer: string
  /** merged into the model when the server loads it */
  readonly adapter?: string
  /** what the fine-tuned model was made from */
  readonly base: string
}

export const layOut = Effect.fn("serving.layOut")(function* (exported: Exported, directory: string) {
  const artifacts = yield* ArtifactStore
  const base = join(directory, "base")
  const tuned = join(directory, "model")
  yield* Effect.mapError(artifacts.materialize(exported.base.tree, base), artifactFailure)
  yield* Effect.mapError(artifacts.materialize(exported.tree, tuned), artifactFailure)
  const { files } = yield* Effect.mapError(artifacts.tree(exported.tree), artifactFailure)
  const hasTokenizer = files.some(({ path }) => ["tokenizer.json", "tokenizer.model", "spiece.model", "vocab.txt", "vocab.json"].includes(path))
  const tokenizer = hasTokenizer ? tuned : base
  return (exported.form === "adapter" ? { model: base, adapter: tuned, tokenizer, base } : { model: tuned, tokenizer, base }) satisfies ServerFiles
})
