/** A tree of model files as it must be before it goes on: every digest right, every weights file well-formed, nothing that runs when loaded. */
import type { ArtifactRef } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import { HeaderFault, readHeader, type Tensor } from "./Header.ts"
import { indexFault } from "./weightIndex.ts"

/** Formats that are, or may be, Python pickles. */
const PICKLE = /\.(bin|pt|pth|pkl|pickle|ckpt)$/i

const invalid = (message: string): StageError =>
  new StageError({ reason: "InvalidInput", message, remedy: "The checkpoint was not written as this version writes it: run the train step again." })

/** Tensors by weights file. Fails with Corrupt (a digest), InvalidInput (a header, a pickle, no weights), or what the store says. */
export const verifyTree = Effect.fn("safetensors.verifyTree")(function*(ref: ArtifactRef): Effect.fn.Return<ReadonlyMap<string, ReadonlyArray<Tensor>>, StageError, ArtifactStore | Progress> {
  const store = yield* ArtifactStore
  const progress = yield* Progress
  const { files } = yield* Effect.mapError(store.tree(ref), artifactFailure)
  const pickle = files.find(({ path }) => PICKLE.test(path))
  if (pickle !== undefined) return yield* invalid(`${pickle.path} may be a pickle, which can run code when it is loaded; only safetensors are exported`)
  const weights = new Map<string, ReadonlyArray<Tensor>>()
  let index: string | undefined
  let done = 0
  for (const file of files) {
    // hashes the whole file
    const path = yield* Effect.mapError(store.path({ ...file, mediaType: "application/octet-stream" }), artifactFailure)
    if (file.path.endsWith(".safetensors")) {
      const header = yield* Effect.tryPromise({
        try: () => readHeader(path),
        catch: (cause) => (cause instanceof HeaderFault ? invalid(`${file.path}: ${cause.message}`) : new StageError({ reason: "Unavailable", message: `${file.path}: ${String(cause)}` }))
      })
      weights.set(file.path, header.tensors)
    } else if (file.path.endsWith(".safetensors.index.json")) {
      index = Buffer.from(yield* Effect.mapError(store.read({ ...file, mediaType: "application/json" }), artifactFailure)).toString("utf8")
    }
    done++
    yield* progress.report({ done, total: files.length, unit: "files", label: "verified" })
  }
  if (weights.size === 0) return yield* invalid("The checkpoint holds no .safetensors file")
  const fault = indexFault(weights, index)
  if (fault !== undefined) return yield* invalid(fault)
  return weights
})
