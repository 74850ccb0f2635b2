/**
 * CNCF ModelPack documents (modelpack/model-spec: docs/spec.md, docs/config.md, schema/config-schema.json, specs-go/v1/mediatype.go) over
 * an exported model. Pure: the same content gives the same bytes, so no time of day is in them (`createdAt` is optional and left out).
 */
import type { Tree } from "@hypernode/engine/artifact/Artifact"
import { canonicalJson } from "@hypernode/engine/artifact/canonicalJson"
import type { Exported } from "@hypernode/engine/stage/values"

export const ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
export const MANIFEST_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
export const CONFIG_MEDIA_TYPE = "application/vnd.cncf.model.config.v1+json"
/** Ours, on the manifest: what ModelPack has no field for. */
export const ANNOTATION_PREFIX = "ai.hypernode."

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
}

type LayerKind = "weight" | "weight.config" | "doc" | "code"

/** By the names that model repositories use. Undefined: a file we do not know. */
const kindOf = (path: string): LayerKind | undefined => {
  const name = path.slice(path.lastIndexOf("/") + 1)
  if (/\.(safetensors|gguf)$/i.test(name)) return "weight"
  if (/^(readme|licen[cs]e|notice|use_policy|model_card)\b/i.test(name) || /\.(md|rst|pdf)$/i.test(name)) return "doc"
  if (/\.(py|sh)$/i.test(name)) return "code"
  if (/\.(json|jinja|model|vocab|yaml|yml)$/i.test(name) || /^(merges|vocab)\.txt$/i.test(name)) return "weight.config"
  return undefined
}

/** One blob a file, weights raw: they do not compress, and a second package moves only the files that changed. */
export const layersOf = (tree: Tree): ReadonlyArray<Descriptor> =>
  tree.files.map(({ digest, path, size }) => {
    const kind = kindOf(path)
    return {
      mediaType: `application/vnd.cncf.model.${kind ?? "weight.config"}.v1.raw`,
      digest,
      size,
      annotations: {
        "org.cncf.model.filepath": path,
        "org.opencontainers.image.title": path,
        // the spec's own mark for a media type that was guessed
        ...(kind === undefined && { "org.cncf.model.file.mediatype.untested": "true" })
      }
    }
  })

/** `<count><scale>` with at most one decimal (docs/config.md, paramSize): 134515008 → `134.5m`. */
export const paramSize = (parameters: number): string => {
  const scales = [[1e15, "q"], [1e12, "t"], [1e9, "b"], [1e6, "m"], [1e3, "k"]] as const
  const [unit, letter] = scales.find(([u]) => parameters >= u * 0.99995) ?? scales[4]
  return `${Math.round((parameters / unit) * 10) / 10}${letter}`
}

const precisions: Readonly<Record<string, string>> = { float32: "fp32", float16: "fp16", bfloat16: "bf16", float64: "fp64" }

/** `hf:<repo>@<revision>` names a public page; a local file has none. */
const sourceUrl = (source: string): string | undefined => {
  const repo = /^hf:(?<repo>[^@]+)@/.exec(source)?.groups?.["repo"]
  return repo === undefined ? undefined : `https://huggingface.co/${repo}`
}

export interface ModelPackInput {
  readonly name: string
  readonly exported: Exported
  readonly tree: Tree
  /** `torch_dtype` (or `dtype`) of the model's config.json */
  readonly dtype?: string
  readonly annotations: Readonly<Record<string, string>>
}

/** The config document, canonical JSON. */
export const configOf = ({ dtype, exported, name, tree }: ModelPackInput): string => {
  const { base } = exported
  return canonicalJson({
    descriptor: {
      name,
      family: base.architecture,
      title: `${name}: ${base.name}, fine-tuned (${exported.form})`,
      revision: base.revision,
      sourceURL: sourceUrl(base.source),
      licenses: base.license === undefined ? undefined : [base.license]
    },
    config: {
      architecture: "transformer",
      format: "safetensors",
      // an adapter's own size is not known here, and the base's would be wrong
      paramSize: exported.form === "adapter" || base.parameters < 1 ? undefined : paramSize(base.parameters),
      precision: dtype === undefined ? undefined : precisions[dtype] ?? dtype,
      capabilities: { inputTypes: ["text"], outputTypes: ["text"] }
    },
    modelfs: { type: "layers", diffIds: tree.files.map((file) => file.digest) }
  })
}

/** The manifest, canonical JSON. `config` is the descriptor of `configOf`'s bytes. An adapter names its base in annotations: ModelPack has no field for it. */
export const manifestOf = (input: ModelPackInput, config: Descriptor): string => {
  const { exported } = input
  return canonicalJson({
    schemaVersion: 2,
    mediaType: MANIFEST_MEDIA_TYPE,
    artifactType: ARTIFACT_TYPE,
    config,
    layers: layersOf(input.tree),
    annotations: {
      ...input.annotations,
      "org.opencontainers.image.title": input.name,
      [`${ANNOTATION_PREFIX}form`]: exported.form,
      [`${ANNOTATION_PREFIX}step`]: String(exported.step),
      [`${ANNOTATION_PREFIX}base.name`]: exported.base.name,
      [`${ANNOTATION_PREFIX}base.source`]: exported.base.source,
      [`${ANNOTATION_PREFIX}base.revision`]: exported.base.revision,
      [`${ANNOTATION_PREFIX}base.tree`]: exported.base.tree.digest
    }
  })
}
