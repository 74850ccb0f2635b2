/**
 * Whether tokens can be counted exactly, and from which files. The JavaScript tokenizer (@huggingface/tokenizers) says which constructs
 * it cannot reproduce; where a model's tokenizer uses one, segments carry no token count rather than a wrong one.
 */
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import type { StageError } from "@hypernode/engine/stage/StageError"
import type { Model } from "@hypernode/engine/stage/values"

/** Paths of blobs. */
export interface TokenizerFiles {
  readonly tokenizer: string
  readonly config: string | undefined
}

/** Regular expressions and behaviours that differ from the reference implementation, as they stand in tokenizer.json. */
const inexact = /"(MergedWithPrevious|MergedWithNext|Contiguous)"|\\\\G|\(\?>|[*+?}]\+(?!\))|\[\[\.|\[\[=/

export const tokenizerFault = (json: string): string | undefined => {
  try {
    const type = (JSON.parse(json) as { readonly model?: { readonly type?: unknown } }).model?.type
    if (type !== "BPE" && type !== "WordPiece") return `its tokenizer is of the type ${typeof type === "string" ? type : "unknown"}`
  } catch {
    return "its tokenizer.json is not JSON"
  }
  const found = inexact.exec(json)
  return found === null ? undefined : `its tokenizer uses ${found[0]}`
}

export const tokenizerFiles = Effect.fnUntraced(function*(model: Model): Effect.fn.Return<TokenizerFiles | { readonly fault: string }, StageError, ArtifactStore> {
  const artifacts = yield* ArtifactStore
  const { files } = yield* Effect.mapError(artifacts.tree(model.tree), artifactFailure)
  const blob = (name: string) => {
    const file = files.find((f) => f.path === name)
    return file === undefined ? Effect.succeed(undefined) : Effect.mapError(artifacts.path({ ...file, mediaType: "application/json" }), artifactFailure)
  }
  const tokenizer = yield* blob("tokenizer.json")
  if (tokenizer === undefined) return { fault: "it has no tokenizer.json" }
  const fault = tokenizerFault(yield* Effect.promise(() => readFile(tokenizer, "utf8")))
  return fault === undefined ? { tokenizer, config: yield* blob("tokenizer_config.json") } : { fault }
})
