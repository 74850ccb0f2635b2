/** Reads a ModelPack manifest (modelpack/model-spec: docs/spec.md) as a base model: which file each raw layer is. It comes from outside, so nothing in it is believed. */
import type { Digest } from "@hypernode/engine/artifact/Digest"
import { isModelFile } from "@hypernode/engine/artifact/ModelFiles"
import { ANNOTATION_PREFIX, ARTIFACT_TYPE, CONFIG_MEDIA_TYPE, MANIFEST_MEDIA_TYPE } from "./ModelPack.ts"
import { DIGEST } from "./Reference.ts"
import { ContentFault } from "./RegistryFault.ts"

export interface ModelFile {
  readonly path: string
  readonly digest: Digest
  /** bytes */
  readonly size: number
}

interface Layer {
  readonly mediaType?: unknown
  readonly digest?: unknown
  readonly size?: unknown
  readonly annotations?: Readonly<Record<string, unknown>>
}

const LAYER = /^application\/vnd\.cncf\.model\.[a-z.]+\.v1\.(raw|tar(?:\+\w+)?)$/
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value)

/** Model files by name; other files of the artifact are left where they are. `what` names the artifact in messages. Throws ContentFault. */
export const modelFilesOf = (text: string, what: string): ReadonlyArray<ModelFile> => {
  let manifest: unknown
  try {
    manifest = JSON.parse(text)
  } catch {
    // said below
  }
  if (!isObject(manifest)) throw new ContentFault(`The manifest of ${what} is not a JSON object.`, "Check that the host is an OCI registry.")
  const { annotations, artifactType, config, layers, mediaType } = manifest
  const configType = isObject(config) ? config["mediaType"] : undefined
  if (artifactType !== ARTIFACT_TYPE && configType !== CONFIG_MEDIA_TYPE) {
    const kind = Array.isArray(manifest["manifests"]) ? "an index of several artifacts" : typeof configType === "string" && configType.includes("image") ? "a container image" : "another kind of artifact"
    throw new ContentFault(`${what} is ${kind}, not a ModelPack model.`, `Name an artifact of type ${ARTIFACT_TYPE}, such as oci({ push }) makes.`)
  }
  if ((mediaType !== undefined && mediaType !== MANIFEST_MEDIA_TYPE) || !Array.isArray(layers)) throw new ContentFault(`The manifest of ${what} is not an OCI image manifest with layers.`, "Push the model again.")
  if (isObject(annotations) && annotations[`${ANNOTATION_PREFIX}form`] === "adapter") throw new ContentFault(`${what} is an adapter beside its base model, not a model.`, "Select a package of merged or full weights, or the adapter's base.")
  const files = new Map<string, ModelFile>()
  for (const layer of layers as ReadonlyArray<Layer>) {
    const form = LAYER.exec(String(layer?.mediaType))?.[1]
    const path = layer?.annotations?.["org.cncf.model.filepath"]
    if (form === undefined || form !== "raw") throw new ContentFault(`${what} has a layer of type ${JSON.stringify(String(layer?.mediaType).slice(0, 80))}; only raw layers, one file each, can be read.`, "Package the model with raw layers: modctl and oci() write them.")
    if (typeof path !== "string" || typeof layer.digest !== "string" || !DIGEST.test(layer.digest) || !Number.isSafeInteger(layer.size) || (layer.size as number) < 0) throw new ContentFault(`${what} has a layer without a file name, a sha256 digest or a size.`, "Push the model again with a tool that writes ModelPack.")
    if (!isModelFile(path)) continue
    if (files.has(path)) throw new ContentFault(`${what} has two layers for ${path}.`, "Push the model again.")
    files.set(path, { path, digest: layer.digest as Digest, size: layer.size as number })
  }
  return [...files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
}
