import { join } from "node:path"
import type { ArtifactRef, Tree } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { definePlugin, stage, type StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Packaged } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import { addBlob, LayoutFault, prepareLayout, standsIn, tagManifest } from "./Layout.ts"
import { ARTIFACT_TYPE, CONFIG_MEDIA_TYPE, configOf, MANIFEST_MEDIA_TYPE, manifestOf } from "./ModelPack.ts"
import { OciOptions, PullOptions, registryNotes } from "./Options.ts"
import { referenceOf } from "./Reference.ts"

/** A pipeline's name as an OCI name: `Support Bot` → `support-bot`. */
const packageName = (options: OciOptions, pipeline: string): string =>
  options.name ?? (pipeline.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 128) || "model")

const onDisk = <A>(what: string, call: () => Promise<A>): Effect.Effect<A, StageError> =>
  Effect.uninterruptible(Effect.tryPromise({
    try: call,
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code
      const message = `${what}: ${cause instanceof Error ? cause.message : String(cause)}`
      if (code === "ENOSPC" || code === "EDQUOT") return new StageError({ reason: "OutOfSpace", message, remedy: "Free some space, then `hyper resume`." })
      if (cause instanceof LayoutFault) return new StageError({ reason: "InvalidInput", message, remedy: "Move that directory away, or give oci({ name }) another name." })
      if (code === "EACCES" || code === "EPERM" || code === "EROFS") return new StageError({ reason: "Denied", message, remedy: "Make the directory writable for you, or set HYPER_HOME to another one." })
      return new StageError({ reason: "Unavailable", message })
    }
  }))

/** `torch_dtype` (transformers < 5) or `dtype` of config.json; an adapter has no such file. */
const dtypeOf = Effect.fnUntraced(function*(store: ArtifactStore["Service"], tree: Tree) {
  const file = tree.files.find(({ path }) => path === "config.json")
  if (file === undefined) return undefined
  const text = Buffer.from(yield* Effect.mapError(store.read({ ...file, mediaType: "application/json" }), artifactFailure)).toString("utf8")
  const { dtype, torch_dtype } = yield* Effect.try({
    try: () => JSON.parse(text) as { readonly dtype?: unknown; readonly torch_dtype?: unknown },
    catch: () => new StageError({ reason: "InvalidInput", message: "config.json of the checkpoint is not JSON", remedy: "Run the train step again: the checkpoint was not written by it." })
  })
  const name = dtype ?? torch_dtype
  return typeof name === "string" ? name : undefined
})

/** The client is loaded where it is used: planning needs none of it. */
const pushing = Effect.promise(() => import("./push.ts"))

const run = Effect.fn("oci.package")(function*({ effectKey, home, input, options, pipeline, scratch, tenant }: StageContext<OciOptions, { readonly checkpoint: Packaged["exported"] }>) {
  const store = yield* ArtifactStore
  const progress = yield* Progress
  const exported = input.checkpoint
  const name = packageName(options, pipeline)
  const tag = options.tag ?? "latest"
  const tree = yield* Effect.mapError(store.tree(exported.tree), artifactFailure)
  if (tree.files.length === 0) {
    return yield* new StageError({ reason: "InvalidInput", message: "The checkpoint holds no file, so there is nothing to package", remedy: "Look at the train step's log: it wrote no weights." })
  }
  const dtype = yield* dtypeOf(store, tree)
  const source = { name, exported, tree, annotations: options.annotations ?? {}, ...(dtype !== undefined && { dtype }) }
  const config = yield* Effect.mapError(store.put(configOf(source), CONFIG_MEDIA_TYPE), artifactFailure)
  const manifest = yield* Effect.mapError(
    store.put(manifestOf(source, { mediaType: CONFIG_MEDIA_TYPE, digest: config.digest, size: config.size }), MANIFEST_MEDIA_TYPE),
    artifactFailure
  )
  const layout = join(home, "packages", name)
  const what = `Packaging into ${layout}`
  yield* onDisk(what, () => prepareLayout(layout))
  const bytes = tree.files.reduce((sum, file) => sum + file.size, 0)
  let done = 0
  const blobs: ReadonlyArray<ArtifactRef> = [...tree.files.map((file) => ({ ...file, mediaType: "application/octet-stream" })), config, manifest]
  for (const blob of blobs) {
    // `path` hashes the blob: what goes into the package is what was trained
    const path = yield* Effect.mapError(store.path(blob), artifactFailure)
    yield* onDisk(what, () => addBlob(layout, blob.digest, path))
    done += blob.size
    yield* progress.report({ done: Math.min(done, bytes), total: bytes, unit: "bytes", label: "packaged" })
  }
  yield* onDisk(what, () => tagManifest(layout, tag, { mediaType: MANIFEST_MEDIA_TYPE, artifactType: ARTIFACT_TYPE, digest: manifest.digest, size: manifest.size }))
  yield* progress.log(`Packaged ${name}:${tag} as ${manifest.digest} (${tree.files.length} files, ${bytes} bytes)`)
  const pushed = options.push === undefined ? undefined : yield* (yield* pushing).push(options.push, { layout, digest: manifest.digest, base: exported.base.source }, { tenant, scratch, effectKey, tag })
  return { name, digest: manifest.digest, manifest, artifactType: ARTIFACT_TYPE, layout: `packages/${name}`, size: bytes + config.size + manifest.size, exported, ...(pushed !== undefined && { pushed }) } satisfies Packaged
})

/** How large a package will be is known only when the model is: the plan names the place. */
const estimatePackage = Effect.fnUntraced(function*({ push, tag }: OciOptions) {
  const layout = "writes an OCI layout below packages/ of the home"
  if (push === undefined) return { notes: [], sideEffects: [layout], tools: [], hosts: [] }
  const { host, repository, tag: named } = referenceOf(push.to)
  return { notes: yield* registryNotes(push.to, push), sideEffects: [layout, `pushes the package to ${host}/${repository}:${named ?? tag ?? "latest"}`], tools: [], hosts: [host] }
})

const estimateModel = Effect.fnUntraced(function*(options: PullOptions) {
  const { digest, host, repository, tag } = referenceOf(options.model)
  const pinned = digest === undefined ? [{ level: "info" as const, message: `${host}/${repository}:${tag ?? "latest"} is pinned to its digest when the step first runs` }] : []
  return { notes: [...pinned, ...(yield* registryNotes(options.model, options))], sideEffects: [], tools: [], hosts: [host] }
})

export default definePlugin({
  id: "oci",
  version: "1.1.0",
  stages: {
    package: stage({
      kind: "package",
      effect: "pure",
      options: OciOptions,
      estimate: estimatePackage,
      // The name comes from the pipeline, which is no part of the cache key: a result under another name is not this pipeline's.
      alive: Effect.fnUntraced(function*(output, { home, options, pipeline, tenant }) {
        if (output.name !== packageName(options, pipeline)) return false
        if (!(yield* Effect.promise(() => standsIn(join(home, ...output.layout.split("/")), output.digest)))) return false
        return options.push === undefined || (yield* (yield* pushing).stillPushed(options.push, output.pushed, output.digest, { tenant, tag: options.tag ?? "latest" }))
      }),
      body: { run }
    }),
    select: stage({
      kind: "select",
      effect: "pure",
      options: PullOptions,
      estimate: estimateModel,
      body: { run: (context) => Effect.flatMap(Effect.promise(() => import("./pull.ts")), ({ pullModel }) => pullModel(context)) }
    })
  }
})
