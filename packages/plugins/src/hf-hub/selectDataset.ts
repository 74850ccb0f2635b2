/** A data-set file as a source reference: one of this machine where it lies, or one of a public repository from the cache. */
import { basename } from "node:path"
import * as Effect from "effect/Effect"
import { selectFile } from "@hypernode/engine/dataset/selectFile"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { HubClient, HubRepo } from "./Client.ts"
import { settled } from "@hypernode/engine/stage/settled"
import { download } from "./download.ts"
import { HubFault, hubFailure } from "./HubFault.ts"
import { type HubFile, hubFileOf, type Options, pathFrom } from "./Options.ts"

/** Rows of a private repository would lie in the cache as plain text, so only what everybody may read is downloaded. */
const fromHub = Effect.fnUntraced(function* (client: HubClient, file: HubFile, cache: string) {
  const progress = yield* Progress
  const repo: HubRepo = { type: "dataset", name: file.repo }
  const asked = { endpoint: client.endpoint, repo: `datasets/${file.repo}`, revision: file.revision, hasToken: client.hasToken }
  const attempt = <A>(call: (signal: AbortSignal) => Promise<A>) => settled(call, (cause) => hubFailure(asked, cause))
  const { commit, restricted } = yield* attempt(() => client.revision(repo, file.revision))
  if (restricted) {
    return yield* new StageError({
      reason: "Denied",
      message: `datasets/${file.repo} is private or gated, and downloading it would leave its rows in the cache as plain text.`,
      remedy: "Download the file yourself to a place that you protect, and name its path as `dataset`."
    })
  }
  const slash = file.path.lastIndexOf("/")
  const entries = yield* attempt(() =>
    client.files(repo, commit, slash < 0 ? "" : file.path.slice(0, slash)).catch((error: unknown) => {
      if (error instanceof HubFault && error.code === "EntryNotFound") return [] // no such directory either
      throw error
    })
  )
  const entry = entries.find(({ path }) => path === file.path)
  if (entry === undefined) return yield* hubFailure(asked, new HubFault(404, "EntryNotFound", `datasets/${file.repo} has no file ${file.path} at ${file.revision}.`))
  let done = 0
  const path = yield* attempt((signal) => download({ client, repo, commit, entry, cache, signal, onBytes: (bytes) => (done += bytes) }))
  yield* progress.report({ done, total: entry.size, unit: "bytes", label: `downloading ${file.path}` })
  yield* progress.log(`${file.path} of datasets/${file.repo} at ${commit.slice(0, 12)} is public, and kept in the cache as plain text`)
  return path
})

export const selectDataset = Effect.fn("hfHub.selectDataset")(function* (client: HubClient, options: Options & { readonly dataset: string }, context: { readonly projectDirectory: string; readonly cache: string }) {
  const file = hubFileOf(options.dataset)
  if (file === null) {
    return yield* new StageError({ reason: "InvalidInput", message: `${options.dataset} names no file of the hub.`, remedy: "Write hf://datasets/<org>/<name>/<path>.jsonl, with @<revision> after the name if need be." })
  }
  if (file === undefined) return yield* selectFile(pathFrom(context.projectDirectory, options.dataset), options.format)
  return yield* selectFile(yield* fromHub(client, file, context.cache), options.format, basename(file.path))
})
