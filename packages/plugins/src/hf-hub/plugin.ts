/** `hf-hub` (select): models and public data-set files from the Hugging Face Hub; a private data-set file from this machine. */
import { promises as fs } from "node:fs"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { definePlugin, type Estimate, type PlanNote, stage } from "@hypernode/engine/plugin/Plugin"
import { StageError } from "@hypernode/engine/stage/StageError"
import { HubClient, isLoopback } from "./Client.ts"
import { endpointOf, hubFileOf, isCommit, Options, pathFrom } from "./Options.ts"
import { selectDataset } from "./selectDataset.ts"
import { selectModel } from "./selectModel.ts"

const nothing = new StageError({ reason: "InvalidInput", message: "hfHub() selects nothing.", remedy: "Give it a model, a dataset or both." })

const clientOf = Effect.fnUntraced(function* (tenant: string, options: Options) {
  const endpoint = endpointOf(options)
  if (!URL.canParse(endpoint)) return yield* new StageError({ reason: "InvalidInput", message: `HF_ENDPOINT is ${JSON.stringify(endpoint)}, which is no URL.`, remedy: "Unset it, or name a hub: https://huggingface.co" })
  if (options.token === undefined) return new HubClient(endpoint, undefined)
  const url = new URL(endpoint)
  if (url.protocol !== "https:" && !isLoopback(url)) return yield* new StageError({ reason: "Denied", message: `The token would go to ${url.host} unencrypted.`, remedy: "Use an https endpoint, or leave the token out." })
  const token = yield* Effect.mapError(Secrets.use((secrets) => secrets.get(tenant, options.token as { readonly $secret: string })), (error) => new StageError({ reason: "Missing", message: error.message, remedy: "Or leave `token` out, if the repository is public." }))
  return new HubClient(endpoint, Redacted.value(token))
})

/** What a file is known by without reading it; no digest of private data goes into a key. */
const fileIdentity = (path: string): Promise<string> => fs.stat(path, { bigint: true }).then((s) => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`, () => "absent")

const estimate = (options: Options, context: { readonly projectDirectory: string }): Effect.Effect<Estimate> =>
  Effect.promise(async () => {
    const notes: Array<PlanNote> = []
    const file = options.dataset === undefined ? undefined : hubFileOf(options.dataset)
    const remote = options.model !== undefined || (file !== undefined && file !== null)
    if (options.model === undefined && options.dataset === undefined) notes.push({ level: "refuse", message: nothing.message, remedy: nothing.remedy ?? "" })
    if (options.model !== undefined && !isCommit(options.revision)) notes.push({ level: "info", message: `${options.model}: ${options.revision} is pinned to its commit when the step first runs` })
    if (file === null) notes.push({ level: "refuse", message: `${options.dataset} names no file of the hub`, remedy: "write hf://datasets/<org>/<name>/<path>.jsonl" })
    if (options.dataset !== undefined && file === undefined && (await fileIdentity(pathFrom(context.projectDirectory, options.dataset))) === "absent") {
      notes.push({ level: "refuse", message: `The data set ${pathFrom(context.projectDirectory, options.dataset)} does not exist.`, remedy: "Check the path: a relative one starts at the directory of the pipeline file." })
    }
    const endpoint = endpointOf(options)
    return { notes, sideEffects: [], tools: [], hosts: remote && URL.canParse(endpoint) ? [new URL(endpoint).host] : [] }
  })

export default definePlugin({
  id: "hf-hub",
  version: "0.1.0",
  stages: {
    select: stage({
      kind: "select",
      effect: "pure",
      options: Options,
      fingerprint: (options, context) =>
        Effect.promise(async () => ({
          endpoint: endpointOf(options),
          dataset: options.dataset === undefined ? "none" : hubFileOf(options.dataset) === undefined ? await fileIdentity(pathFrom(context.projectDirectory, options.dataset)) : options.dataset
        })),
      estimate,
      alive: Effect.fnUntraced(function* (output) {
        const artifacts = yield* ArtifactStore
        const keyring = yield* Keyring
        if (output.model !== undefined && !(yield* artifacts.has(output.model.tree.digest))) return false
        if (output.dataset === undefined) return true
        const { saltKey, uri } = output.dataset
        if (!(yield* Effect.promise(() => fs.access(uri).then(() => true, () => false)))) return false
        return yield* Effect.mapError(keyring.has(saltKey), (error) => new StageError({ reason: "Unavailable", message: error.message }))
      }),
      body: {
        run: Effect.fn("hfHub.select")(function* (context) {
          const { options } = context
          const { dataset, model, revision } = options
          if (model === undefined && dataset === undefined) return yield* nothing
          const client = yield* clientOf(context.tenant, options)
          return {
            ...(model === undefined ? {} : { model: yield* selectModel(client, model, revision, context.cache, context.scratch) }),
            ...(dataset === undefined ? {} : { dataset: yield* selectDataset(client, { ...options, dataset }, context) })
          }
        })
      }
    })
  }
})
