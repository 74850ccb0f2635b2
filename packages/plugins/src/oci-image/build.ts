/** The package stage: the ModelPack first, as `oci` makes it, then an image of the same bytes, labelled with the package's digest. */
import { existsSync } from "node:fs"
import * as Effect from "effect/Effect"
import type { ArtifactRef } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import type { Digest } from "@hypernode/engine/artifact/Digest"
import { Containers } from "@hypernode/engine/capability/Containers"
import { LABEL } from "@hypernode/engine/containers/labels"
import type { ShortStage, StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { containerFailure } from "@hypernode/engine/stage/containerFailure"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import oci from "../oci/plugin.ts"
import { imageSource, type ModelFile } from "./Dockerfile.ts"
import type { Options } from "./Options.ts"
import { serverDigest } from "./ServerSource.ts"

const TOKENIZERS = ["tokenizer.json", "tokenizer.model", "spiece.model", "vocab.txt", "vocab.json"]

/** The options that are `oci`'s too. */
export const ociOptions = ({ annotations, name }: Options): Record<string, unknown> => ({ ...(name === undefined ? {} : { name }), ...(annotations === undefined ? {} : { annotations }) })

const filesOf = Effect.fnUntraced(function* (tree: ArtifactRef) {
  const store = yield* ArtifactStore
  const { files } = yield* Effect.mapError(store.tree(tree), artifactFailure)
  // `path` hashes the blob: what goes into the image is what was trained
  return yield* Effect.forEach(files, ({ path, ...file }) => Effect.map(Effect.mapError(store.path({ ...file, mediaType: "application/octet-stream" }), artifactFailure), (blob): ModelFile => ({ path, blob, size: file.size })))
})

const modelOf = Effect.fnUntraced(function* (exported: Exported) {
  const tuned = yield* filesOf(exported.tree)
  const tokenizer = tuned.some(({ path }) => TOKENIZERS.includes(path))
  if (exported.form === "adapter") return { model: yield* filesOf(exported.base.tree), adapter: { files: tuned, tokenizer } }
  if (tokenizer) return { model: tuned }
  return { model: tuned, tokenizer: (yield* filesOf(exported.base.tree)).filter(({ path }) => !path.endsWith(".safetensors")) }
})

/** As the Python environment has it: an index with CPU builds, where there is no NVIDIA GPU. A password in it would stand in the image's history. */
const extraIndex = Effect.gen(function* () {
  const index = process.env["HYPER_TORCH_INDEX"]
  if (index === undefined || index === "" || existsSync("/dev/nvidiactl")) return {}
  if (/\/\/[^/@]*@/.test(index)) return yield* new StageError({ reason: "InvalidInput", message: "HYPER_TORCH_INDEX holds a user or password, which would stay in the image's history", remedy: "Use an index that needs none, or build a base image that has torch and give ociImage({ base, install: false })." })
  return { buildArgs: { PIP_EXTRA_INDEX_URL: index } }
})

export const build = Effect.fn("ociImage.package")(function* (context: StageContext<Options, Kinds["package"]["input"]>) {
  const containers = yield* Containers
  const progress = yield* Progress
  const { options } = context
  // an engine that has gone since the plan is found before anything is written
  yield* Effect.mapError(containers.engine, containerFailure)
  const body = oci.stages.package!.body as ShortStage<unknown, Kinds["package"]["input"], Packaged>
  const packaged = yield* body.run({ ...context, options: ociOptions(options) })
  const index = options.install ? yield* extraIndex : {}
  const source = imageSource({ base: options.base, install: options.install, name: packaged.name, maxTokens: options.maxTokens, ...(yield* modelOf(packaged.exported)) })
  const reference = `hyper/${packaged.name}:${options.tag ?? packaged.digest.slice("sha256:".length, "sha256:".length + 12)}`
  yield* progress.log(`Building the image ${reference} on ${options.base}`)
  let steps = 0
  const lines: Array<string> = []
  const building = containers.build(
    {
      ...source,
      reference,
      labels: {
        "org.opencontainers.image.title": packaged.name,
        "org.opencontainers.image.base.name": options.base,
        [LABEL.run]: context.runId,
        [LABEL.step]: context.stepId,
        ...(context.plan === undefined ? {} : { [LABEL.plan]: context.plan }),
        [LABEL.package]: packaged.digest,
        [LABEL.server]: serverDigest()
      },
      ...index,
      ...(options.network === undefined ? {} : { network: options.network })
    },
    (line) => {
      if (line.startsWith("Step ")) {
        steps++
        lines.push(line)
      }
    }
  )
  const total = source.dockerfile.trim().split("\n").length + 1
  const follow = Effect.forever(Effect.andThen(Effect.sleep("1 second"), Effect.suspend(() => progress.report({ done: Math.min(steps, total), total, unit: "steps", label: lines.at(-1)?.slice(0, 120) ?? "sending the model" }))))
  const image = yield* Effect.mapError(Effect.raceFirst(building, follow), containerFailure)
  yield* progress.log(`Image ${reference} is ${image.id} (${image.layers.length} layers, ${image.bytes} bytes); run it anywhere: docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 ${reference}`)
  return { ...packaged, image: { reference, id: image.id as Digest, size: image.bytes } } satisfies Packaged
})

/** The package's layout stands, and so does the image: an engine forgets what was pruned. */
export const stands = Effect.fn("ociImage.alive")(function* (output: Packaged, context: StageContext<Options, unknown>) {
  const containers = yield* Containers
  const definition = oci.stages.package!
  if (output.image === undefined || !(yield* definition.alive!(output, { ...context, options: ociOptions(context.options) as never }))) return false
  const image = yield* Effect.result(containers.image(output.image.reference))
  return image._tag === "Success" && image.success?.id === output.image.id
})
