/** A model repository at a commit becomes a tree artifact: configuration, tokenizer, safetensors; nothing else of it is downloaded. */
import { promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { TREE_MEDIA_TYPE } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { canonicalJson } from "@hypernode/engine/artifact/Digest"
import { inspectModel, isModelFile, ModelFault } from "@hypernode/engine/artifact/ModelFiles"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Model } from "@hypernode/engine/stage/values"
import { cachePaths, readRevision, writeRevision } from "./BlobCache.ts"
import type { HubClient, HubEntry, HubRepo } from "./Client.ts"
import { settled } from "@hypernode/engine/stage/settled"
import { download } from "./download.ts"
import { hubFailure } from "./HubFault.ts"
import { isCommit } from "./Options.ts"

const PICKLED = /\.(bin|pt|pth|ckpt|pkl)$/
const PARALLEL = 4

/** Many repositories hold their weights several times: one file, shards with an index, other precisions. One set is enough. */
export const neededFiles = (entries: ReadonlyArray<HubEntry>): ReadonlyArray<HubEntry> => {
  const model = entries.filter((entry) => isModelFile(entry.path))
  const names = new Set(model.map((entry) => entry.path))
  const shard = /^model-\d{5}-of-\d{5}\.safetensors$/
  const weights = names.has("model.safetensors")
    ? (name: string) => name === "model.safetensors"
    : names.has("model.safetensors.index.json") && model.some((entry) => shard.test(entry.path))
      ? (name: string) => shard.test(name)
      : () => true
  const dropsIndex = names.has("model.safetensors")
  return model.filter(({ path }) => (path.endsWith(".safetensors") ? weights(path) : !(dropsIndex && path === "model.safetensors.index.json")))
}

const attempt = <A>(client: HubClient, repo: HubRepo, revision: string, call: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, StageError> =>
  settled(call, (cause) => hubFailure({ endpoint: client.endpoint, repo: repo.name, revision, hasToken: client.hasToken }, cause))

/** The commit and its files; without any request where the commit was named and has been seen before. */
const resolve = Effect.fnUntraced(function* (client: HubClient, repo: HubRepo, revision: string, cache: string) {
  const host = new URL(client.endpoint).host
  const listing = (commit: string): string => cachePaths(cache).revision(host, repo, commit)
  if (isCommit(revision)) {
    const known = yield* Effect.promise(() => readRevision(listing(revision)))
    if (known !== undefined) return { commit: revision, entries: known }
  }
  const { commit } = yield* attempt(client, repo, revision, () => client.revision(repo, revision))
  const entries = yield* attempt(client, repo, revision, () => client.files(repo, commit))
  return { commit, entries }
})

export const selectModel = Effect.fn("hfHub.selectModel")(function* (client: HubClient, name: string, revision: string, cache: string, scratch: string): Effect.fn.Return<Model, StageError, ArtifactStore | Progress> {
  const artifacts = yield* ArtifactStore
  const progress = yield* Progress
  const repo: HubRepo = { type: "model", name }
  const { commit, entries } = yield* resolve(client, repo, revision, cache)
  const page = `${client.endpoint}/${name}/tree/${commit}`
  const files = neededFiles(entries)
  if (!files.some(({ path }) => path.endsWith(".safetensors"))) {
    const pickled = entries.find(({ path }) => PICKLED.test(path))
    return yield* new StageError(
      pickled === undefined
        ? { reason: "InvalidInput", message: `${name}@${commit.slice(0, 12)} has no weights (*.safetensors).`, remedy: `Its files are listed at ${page}.` }
        : { reason: "InvalidInput", message: `${name}@${commit.slice(0, 12)} has pickled weights only (${pickled.path}): loading those runs code, so they are refused.`, remedy: "Choose a revision or a repository with *.safetensors (the hub's conversion bot opens a pull request with them: revision refs/pr/<n>), or convert it and use local({ model })." }
    )
  }
  const total = files.reduce((sum, { size }) => sum + size, 0)
  yield* progress.log(`${name} at ${commit.slice(0, 12)}: ${files.length} files, ${(total / 1e6).toFixed(1)} MB`)
  let done = 0
  const follow = Effect.gen(function* () {
    for (;;) {
      yield* progress.report({ done, total, unit: "bytes", label: `downloading ${name}` })
      yield* Effect.sleep("250 millis")
    }
  })
  const fetching = Effect.forEach(
    files,
    (entry) => Effect.map(attempt(client, repo, revision, (signal) => download({ client, repo, commit, entry, cache, signal, onBytes: (bytes) => (done += bytes) })), (path) => ({ entry, path })),
    { concurrency: PARALLEL }
  )
  const blobs = yield* Effect.raceFirst(fetching, follow)
  yield* progress.report({ done: total, total, unit: "bytes", label: `downloading ${name}` })
  // under their own names, for a look at them as a model
  const directory = join(scratch, "hf-model")
  const facts = yield* Effect.tryPromise({
    try: async () => {
      await fs.rm(directory, { recursive: true, force: true })
      await fs.mkdir(directory, { recursive: true, mode: 0o700 })
      for (const { entry, path } of blobs) await fs.symlink(path, join(directory, entry.path))
      return await inspectModel(directory)
    },
    catch: (cause) =>
      cause instanceof ModelFault
        ? new StageError({ reason: "InvalidInput", message: cause.message.replaceAll(directory, `${name}@${commit.slice(0, 12)}`), remedy: `Choose another repository or revision; its files are listed at ${page}.` })
        : hubFailure({ endpoint: client.endpoint, repo: name, revision, hasToken: client.hasToken }, cause)
  })
  const stored = []
  for (const { entry, path } of blobs.toSorted((a, b) => (a.entry.path < b.entry.path ? -1 : 1))) {
    const { digest, size } = yield* Effect.mapError(artifacts.putFile(path, "application/octet-stream"), artifactFailure)
    stored.push({ path: entry.path, digest, size })
  }
  const tree = yield* Effect.mapError(artifacts.put(canonicalJson({ files: stored }), TREE_MEDIA_TYPE), artifactFailure)
  // only now: a list in the cache means that everything on it was here once
  yield* attempt(client, repo, revision, () => writeRevision(cachePaths(cache).revision(new URL(client.endpoint).host, repo, commit), entries))
  yield* Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
  return {
    name: name.slice(name.indexOf("/") + 1),
    source: `hf:${name}@${commit}`,
    revision: commit,
    tree,
    architecture: facts.architecture,
    parameters: facts.parameters,
    ...(facts.license === undefined ? {} : { license: facts.license })
  }
})
