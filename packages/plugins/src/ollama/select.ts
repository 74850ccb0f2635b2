/** The select stage: a model that Ollama has, or pulls, as a reference for serving. Its weights stay where Ollama keeps them. */
import * as Effect from "effect/Effect"
import { TREE_MEDIA_TYPE } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { canonicalJson } from "@hypernode/engine/artifact/canonicalJson"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Model } from "@hypernode/engine/stage/values"
import { OllamaClient } from "./Client.ts"
import { type Asked, ollamaFailure } from "./failures.ts"
import { hostOf, type SelectOptions, withTag } from "./Options.ts"

const SOURCE = "ollama:"

/** The name in Ollama of a model that was selected from it; undefined for one from elsewhere. */
export const ollamaName = (model: Model): string | undefined => (model.source.startsWith(SOURCE) ? model.source.slice(SOURCE.length, model.source.lastIndexOf("@")) : undefined)

/** A registry on this machine is for trying things out: it has no certificate. */
const isLocalRegistry = (model: string): boolean => /^(localhost|127(\.\d{1,3}){3})(:\d+)?\//.test(model)

/** Pulls, and reports each layer's bytes as they come. */
const pull = Effect.fnUntraced(function* (client: OllamaClient, model: string, fault: (doing: Asked["doing"]) => (cause: unknown) => StageError) {
  const progress = yield* Progress
  let seen = { status: "pulling", done: 0, total: 0 }
  const follow = Effect.forever(Effect.andThen(Effect.sleep("250 millis"), Effect.suspend(() => (seen.total === 0 ? Effect.void : progress.report({ done: seen.done, total: seen.total, unit: "bytes", label: seen.status })))))
  const pulling = Effect.tryPromise({
    try: (signal) => client.pull(model, isLocalRegistry(model), signal, ({ done = 0, status, total = 0 }) => (seen = { status: total === 0 ? status : `pulling ${model}`, done, total })),
    catch: fault("pull")
  })
  yield* progress.log(`Ollama pulls ${model}`)
  yield* Effect.raceFirst(pulling, follow)
  if (seen.status !== "success") return yield* fault("pull")(new Error(`it ended with "${seen.status}"`))
})

export const select = Effect.fn("ollama.select")(function* (context: StageContext<SelectOptions, unknown>): Effect.fn.Return<{ readonly model: Model }, StageError, ArtifactStore | Progress> {
  const artifacts = yield* ArtifactStore
  const progress = yield* Progress
  const model = withTag(context.options.model)
  const host = hostOf(context.options)
  if (typeof host !== "string") return yield* host
  const client = new OllamaClient(host)
  const fault = (doing: Asked["doing"]) => (cause: unknown) => ollamaFailure({ host, model, doing }, cause)
  const find = Effect.map(Effect.tryPromise({ try: () => client.list(), catch: fault("look") }), (models) => models.find(({ name }) => name === model))

  if ((yield* find) === undefined) {
    if (!context.options.pull) return yield* new StageError({ reason: "Missing", message: `Ollama at ${host} has no model ${model}.`, remedy: `Pull it (\`ollama pull ${model}\`), or leave \`pull: false\` out.` })
    yield* pull(client, context.options.model, fault)
  }
  const found = yield* find
  if (found === undefined) return yield* new StageError({ reason: "JobFailed", message: `Ollama says that it has pulled ${model}, and does not list it.`, remedy: "Look at `ollama list`." })
  const shown = yield* Effect.tryPromise({ try: () => client.show(model), catch: fault("look") })
  if (!shown.completes) return yield* new StageError({ reason: "InvalidInput", message: `${model} is for embeddings: it gives no completions.`, remedy: "Choose a model that chats or completes: https://ollama.com/library says which do." })

  const facts = { name: model, digest: `sha256:${found.digest}`, family: shown.family, parameters: shown.parameters, quantization: shown.quantization, template: shown.template }
  const { digest, size } = yield* Effect.mapError(artifacts.put(canonicalJson(facts), "application/json"), artifactFailure)
  const tree = yield* Effect.mapError(artifacts.put(canonicalJson({ files: [{ path: "ollama.json", digest, size }] }), TREE_MEDIA_TYPE), artifactFailure)
  yield* progress.log(`${model}: ${shown.family}, ${(shown.parameters / 1e6).toFixed(1)} M parameters, GGUF ${shown.quantization}; for serving only`)
  return {
    model: {
      name: (context.options.model.split("/").at(-1) as string).replaceAll(":", "-"),
      source: `${SOURCE}${model}@sha256:${found.digest}`,
      revision: `sha256:${found.digest}`,
      tree,
      architecture: shown.family,
      parameters: shown.parameters,
      format: "gguf",
      ...(shown.license === undefined ? {} : { license: shown.license })
    }
  }
})

/** Whether Ollama still has the very model. */
export const stillThere = (host: string, model: Model): Effect.Effect<boolean> =>
  Effect.promise(() => new OllamaClient(host).list().then((models) => models.some(({ digest, name }) => name === ollamaName(model) && `sha256:${digest}` === model.revision), () => false))
