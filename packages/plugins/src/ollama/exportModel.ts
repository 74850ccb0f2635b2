/** A fine-tuned model into Ollama: its files as blobs (by the digests that the artifact store knows them by), then one `create` over them. */
import { createHash } from "node:crypto"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { digestOfFile } from "@hypernode/engine/artifact/digestOfFile"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { ServerFiles } from "../serving/ServerFiles.ts"
import { aroundOf, goTemplate, renderOf, TemplateFault } from "./chatTemplate.ts"
import type { OllamaClient } from "./Client.ts"
import { ollamaFailure } from "./failures.ts"
import { contextOf, rewritten, wantedFiles } from "./modelFiles.ts"
import type { ServeOptions } from "./Options.ts"

/** Ollama's own default is less, and it drops the beginning of a longer conversation without a word. */
const CONTEXT = 8192

interface Conversation {
  readonly template: string
  /** where an answer ends */
  readonly stop: ReadonlyArray<string>
}

/** Undefined: the model has no chat template, and none was given. */
const conversationOf = (tokenizer: string, given: string | undefined): Effect.Effect<Conversation | undefined, StageError> =>
  given !== undefined
    ? Effect.succeed({ template: given, stop: [] })
    : Effect.tryPromise({
      try: async () => {
        const own = await renderOf(tokenizer)
        if (own === undefined) return undefined
        const around = aroundOf(own.render)
        const end = around.assistant[1].trim()
        return { template: goTemplate(around), stop: end === "" ? [] : [end] }
      },
      catch: (error) =>
        error instanceof TemplateFault
          ? new StageError({ reason: "InvalidInput", message: `The model's chat template has no equal in Ollama's template language that could be derived: ${error.message}.`, remedy: "Write it yourself: ollama({ template: \"...\" }); `ollama show --template <a model of the same family>` has one." })
          : new StageError({ reason: "InvalidInput", message: `The model's tokenizer files cannot be read: ${(error as Error).message}`, remedy: "Run the checkpoint step again." })
    })

/** `directory` is for the files that are rewritten. */
const sendFiles = Effect.fn("ollama.sendFiles")(function* (client: OllamaClient, model: string, from: string, names: ReadonlyArray<string>, templated: boolean, directory: string) {
  const progress = yield* Progress
  const attempt = <A>(call: (signal: AbortSignal) => Promise<A>) => Effect.tryPromise({ try: call, catch: (cause) => ollamaFailure({ host: client.host, model, doing: "create" }, cause) })
  const changed = yield* attempt(() => rewritten(from, templated))
  yield* attempt(() => mkdir(directory, { recursive: true, mode: 0o700 }))
  const sent: Record<string, string> = {}
  for (const name of names) {
    const bytes = changed[name]
    const path = bytes === undefined ? join(from, name) : join(directory, name)
    if (bytes !== undefined) yield* attempt(() => writeFile(path, bytes))
    const digest = bytes === undefined ? (yield* Effect.mapError(digestOfFile(path), artifactFailure)).digest : `sha256:${createHash("sha256").update(bytes).digest("hex")}`
    if (!(yield* attempt(() => client.hasBlob(digest)))) yield* attempt((signal) => client.putBlob(digest, path, signal))
    sent[name] = digest
    yield* progress.report({ done: Object.keys(sent).length, total: names.length, unit: "files", label: "sent to Ollama" })
  }
  return sent
})

/** Creates `model` (with its tag) from the files. Whether it can chat: it has a template. */
export const exportModel = Effect.fn("ollama.exportModel")(function* (client: OllamaClient, model: string, files: ServerFiles, options: ServeOptions, scratch: string) {
  const progress = yield* Progress
  const fault = (cause: unknown) => ollamaFailure({ host: client.host, model, doing: "create" }, cause)
  const conversation = yield* conversationOf(files.tokenizer, options.template)
  const templated = conversation !== undefined && options.template === undefined
  const base = yield* Effect.tryPromise({ try: () => wantedFiles(files.model), catch: fault })
  const sent = yield* sendFiles(client, model, files.model, base, templated, join(scratch, "ollama"))
  // weights that were trained may lie apart from their tokenizer
  const tokenizer = files.tokenizer === files.model ? {} : yield* sendFiles(client, model, files.tokenizer, (yield* Effect.tryPromise({ try: () => wantedFiles(files.tokenizer), catch: fault })).filter((name) => !/\.safetensors|config\.json$/.test(name) || name === "tokenizer_config.json"), templated, join(scratch, "ollama-tokenizer"))
  const adapter = files.adapter
  const adapters = adapter === undefined ? undefined : yield* sendFiles(client, model, adapter, (yield* Effect.tryPromise({ try: () => wantedFiles(adapter), catch: fault })).filter((name) => /^adapter_(model\.safetensors|config\.json)$/.test(name)), false, join(scratch, "ollama-adapter"))
  const made = yield* Effect.tryPromise({ try: () => contextOf(files.model), catch: fault })
  const context = options.context ?? (made === undefined ? undefined : Math.min(made, CONTEXT))
  let status = ""
  yield* Effect.tryPromise({
    try: (signal) =>
      client.create(
        {
          model,
          files: { ...sent, ...tokenizer },
          ...(adapters === undefined ? {} : { adapters }),
          ...(conversation === undefined ? {} : { template: conversation.template }),
          ...(options.quantize === undefined ? {} : { quantize: options.quantize }),
          parameters: { ...(context === undefined ? {} : { num_ctx: context }), ...(conversation === undefined || conversation.stop.length === 0 ? {} : { stop: conversation.stop }) }
        },
        signal,
        (progressed) => (status = progressed.status)
      ),
    catch: fault
  })
  if (status !== "success") return yield* fault(new Error(`it ended with "${status}"`))
  yield* progress.log(`Created ${model} in Ollama (${options.quantize ?? "16-bit"}${context === undefined ? "" : `, ${context} tokens of context`})`)
  return conversation !== undefined
})
