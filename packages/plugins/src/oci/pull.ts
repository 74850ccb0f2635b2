/** A ModelPack artifact of a registry becomes a base model: its model files, each verified by its digest, in the artifact store. */
import { createHash } from "node:crypto"
import { mkdir, rm, symlink } from "node:fs/promises"
import { join } from "node:path"
import { TREE_MEDIA_TYPE } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { canonicalJson } from "@hypernode/engine/artifact/canonicalJson"
import { inspectModel, ModelFault } from "@hypernode/engine/artifact/ModelFiles"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import * as Effect from "effect/Effect"
import { releaseLock, takeLock } from "../trainer/BuildLock.ts"
import { connect } from "./connect.ts"
import { download, partialPath } from "./download.ts"
import { modelFilesOf } from "./ModelManifest.ts"
import type { PullOptions } from "./Options.ts"
import { referenceOf } from "./Reference.ts"
import { ContentFault, DigestFault } from "./RegistryFault.ts"
import { registryFailure } from "./registryFailure.ts"
import { settled } from "@hypernode/engine/stage/settled"

const PARALLEL = 4

export const pullModel = Effect.fn("oci.pullModel")(function*({ cache, options, scratch, tenant }: StageContext<PullOptions, unknown>) {
  const artifacts = yield* ArtifactStore
  const progress = yield* Progress
  const reference = referenceOf(options.model)
  const where = `${reference.host}/${reference.repository}`
  const asked = reference.digest ?? reference.tag ?? "latest"
  const { registry, sought } = yield* connect(options, reference, "pull", tenant)
  const attempt = <A>(call: (signal: AbortSignal) => Promise<A>) => settled(call, (cause) => registryFailure(sought, cause))
  const { digest, files } = yield* attempt(async (signal) => {
    const { bytes, digest: said } = await registry.manifest(asked, signal)
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`
    for (const named of [said, reference.digest]) if (named !== undefined && named !== digest) throw new DigestFault(`The manifest of ${where} is not what its digest names: ${named} was named, ${digest} came.`)
    return { digest, files: modelFilesOf(bytes.toString("utf8"), `${where}@${digest.slice(0, 19)}`) }
  })
  const total = files.reduce((sum, { size }) => sum + size, 0)
  yield* progress.log(`${where} at ${digest}: ${files.length} files, ${(total / 1e6).toFixed(1)} MB`)
  let done = 0
  const report = () => progress.report({ done: Math.min(done, total), total, unit: "bytes", label: `pulling ${where}` })
  const follow = Effect.gen(function*() {
    for (;;) {
      yield* report()
      yield* Effect.sleep("250 millis")
    }
  })
  /** One process at a time for one blob of the cache; let go with the scope, also when a run is cancelled while it waits. */
  const lockOf = Effect.fnUntraced(function*(path: string) {
    const take = Effect.acquireRelease(attempt(async () => takeLock(path)), (taken) => Effect.sync(() => taken && releaseLock(path)))
    while (!(yield* take)) yield* Effect.sleep("300 millis")
  })
  const here = Effect.fnUntraced(function*(file: (typeof files)[number]) {
    const has = yield* artifacts.has(file.digest)
    if (has) done += file.size
    return has
  })
  const fetchOne = Effect.fnUntraced(function*(file: (typeof files)[number]) {
    if (yield* here(file)) return
    yield* lockOf(`${partialPath(cache, file.digest)}.lock`)
    if (yield* here(file)) return // another step has brought it meanwhile
    const path = yield* attempt((signal) => download({ registry, file, cache, onBytes: (bytes) => (done += bytes) }, signal))
    yield* Effect.mapError(artifacts.putFile(path, "application/octet-stream", { move: true }), artifactFailure)
  }, Effect.scoped)
  const distinct = [...new Map(files.map((file) => [file.digest, file])).values()]
  yield* Effect.raceFirst(Effect.forEach(distinct, fetchOne, { concurrency: PARALLEL }), follow)
  done = total
  yield* report()
  // under their own names, for a look at them as a model; `path` hashes what was in the store before
  const directory = join(scratch, "oci-model")
  const paths = yield* Effect.forEach(files, (file) => Effect.mapError(artifacts.path({ ...file, mediaType: "application/octet-stream" }), artifactFailure))
  const facts = yield* attempt(async () => {
    await rm(directory, { recursive: true, force: true })
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (const [i, { path }] of files.entries()) await symlink(paths[i]!, join(directory, path))
    try {
      return await inspectModel(directory)
    } catch (error) {
      throw error instanceof ModelFault ? new ContentFault(error.message.replaceAll(directory, `${where}@${digest.slice(0, 19)}`), "Choose another artifact, or package the model again with all of its files.") : error
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
  const tree = yield* Effect.mapError(artifacts.put(canonicalJson({ files: files.map(({ digest, path, size }) => ({ path, digest, size })) }), TREE_MEDIA_TYPE), artifactFailure)
  return {
    model: {
      name: reference.repository.slice(reference.repository.lastIndexOf("/") + 1),
      source: `oci:${where}@${digest}`,
      revision: digest,
      tree,
      architecture: facts.architecture,
      parameters: facts.parameters,
      ...(facts.license === undefined ? {} : { license: facts.license })
    }
  }
})
