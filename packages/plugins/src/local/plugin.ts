/** `local` (select): a model directory becomes a tree artifact, a data-set file a source reference; the data itself is not copied. */
import { realpath } from "node:fs/promises"
import { basename, join } from "node:path"
import * as Effect from "effect/Effect"
import { TREE_MEDIA_TYPE } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { canonicalJson } from "@hypernode/engine/artifact/Digest"
import { inspectModel, ModelFault } from "@hypernode/engine/artifact/ModelFiles"
import { selectFile } from "@hypernode/engine/dataset/selectFile"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { estimate } from "./estimate.ts"
import { fingerprint } from "./fingerprint.ts"
import { Options, pathFrom } from "./Options.ts"

const modelFailure = (directory: string, cause: unknown): StageError => {
  if (cause instanceof ModelFault) return new StageError({ reason: "InvalidInput", message: cause.message, remedy: cause.remedy })
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown failure"
  return new StageError({ reason: "Unavailable", message: `The model directory ${directory} cannot be read (${code}).`, remedy: "Check its permissions." })
}

const selectModel = Effect.fn("local.selectModel")(function*(directory: string) {
  const artifacts = yield* ArtifactStore
  const progress = yield* Progress
  const facts = yield* Effect.tryPromise({ try: () => inspectModel(directory), catch: (cause) => modelFailure(directory, cause) })
  const files = []
  let done = 0
  for (const name of facts.files) {
    // A hub's cache holds links to its blobs; the owner named this directory, so they are followed here and nowhere later.
    const path = yield* Effect.tryPromise({ try: () => realpath(join(directory, name)), catch: (cause) => modelFailure(directory, cause) })
    const { digest, size } = yield* Effect.mapError(artifacts.putFile(path, "application/octet-stream"), artifactFailure)
    files.push({ path: name, digest, size })
    done += size
    yield* progress.report({ done, total: facts.bytes, unit: "bytes", label: "storing the model" })
  }
  const tree = yield* Effect.mapError(artifacts.put(canonicalJson({ files }), TREE_MEDIA_TYPE), artifactFailure)
  const name = basename(directory)
  return {
    name,
    source: `file:${name}`,
    revision: tree.digest,
    tree,
    architecture: facts.architecture,
    parameters: facts.parameters,
    ...(facts.license === undefined ? {} : { license: facts.license })
  }
})

export default definePlugin({
  id: "local",
  version: "0.1.0",
  stages: {
    select: stage({
      kind: "select",
      effect: "pure",
      options: Options,
      fingerprint,
      estimate,
      alive: Effect.fnUntraced(function*(output) {
        const artifacts = yield* ArtifactStore
        const keyring = yield* Keyring
        if (output.model !== undefined && !(yield* artifacts.has(output.model.tree.digest))) return false
        if (output.dataset === undefined) return true
        return yield* Effect.mapError(keyring.has(output.dataset.saltKey), (error) => new StageError({ reason: "Unavailable", message: error.message }))
      }),
      body: {
        run: Effect.fn("local.select")(function*(context) {
          const { dataset, format, model } = context.options
          if (model === undefined && dataset === undefined) {
            return yield* new StageError({ reason: "InvalidInput", message: "local() selects nothing.", remedy: "Give it a model, a dataset or both." })
          }
          return {
            ...(model === undefined ? {} : { model: yield* selectModel(pathFrom(context.projectDirectory, model)) }),
            ...(dataset === undefined ? {} : { dataset: yield* selectFile(pathFrom(context.projectDirectory, dataset), format) })
          }
        })
      }
    })
  }
})
