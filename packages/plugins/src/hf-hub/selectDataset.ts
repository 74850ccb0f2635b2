/** A data-set file as a source reference: one of this machine where it lies, or one of a public repository from the cache. */
import { createHash, randomBytes } from "node:crypto"
import { promises as fs } from "node:fs"
import { basename } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { unreadable } from "@hypernode/engine/dataset/DatasetFault"
import { readSource } from "@hypernode/engine/dataset/readSource"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { HubClient, HubRepo } from "./Client.ts"
import { download, settled } from "./download.ts"
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
  const keyring = yield* Keyring
  const progress = yield* Progress
  const file = hubFileOf(options.dataset)
  if (file === null) {
    return yield* new StageError({ reason: "InvalidInput", message: `${options.dataset} names no file of the hub.`, remedy: "Write hf://datasets/<org>/<name>/<path>.jsonl, with @<revision> after the name if need be." })
  }
  const given = file === undefined ? pathFrom(context.projectDirectory, options.dataset) : yield* fromHub(client, file, context.cache)
  const name = basename(file === undefined ? given : file.path)
  const path = yield* Effect.tryPromise({ try: () => fs.realpath(given), catch: (cause) => unreadable(given, cause) })
  // one salt for each file of this home, as `local` has it: an unchanged file keeps its commitment from run to run
  const saltKey = `salt/${createHash("sha256").update(path).digest("hex").slice(0, 32)}`
  const salt = yield* Effect.mapError(
    keyring.getOrCreate(saltKey, () => randomBytes(32).toString("base64")),
    (error) => new StageError({ reason: "Unavailable", message: error.message })
  )
  const facts = yield* readSource({ path, name, format: options.format, salt: Buffer.from(Redacted.value(salt), "base64") }, (done) => progress.report({ done, unit: "bytes", label: `checking ${name}` }))
  yield* progress.log(`${name}: ${facts.rows} ${facts.format} rows, ${facts.bytes} bytes, all well-formed`)
  return { name, uri: path, ...facts, saltKey }
})
