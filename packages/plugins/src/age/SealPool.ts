/** Threads that seal segments side by side, for as long as the scope lives. They write the files; this thread only takes them into the store. */
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { artifactIo } from "@hypernode/engine/artifact/ArtifactFailure"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import type { StagedFile } from "@hypernode/engine/artifact/stagedFile"
import { AGE_MEDIA_TYPE } from "@hypernode/engine/keys/age/File"
import { programPath } from "@hypernode/engine/program"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import type { StageError } from "@hypernode/engine/stage/StageError"
import { type Sealer, sealingFailed } from "./Sealer.ts"
import type { SealJob } from "./sealSegment.ts"
import type { SealReply, SealRequest } from "./sealWorker.ts"

/** One that it works on, and one that is there when it is done. */
const SEGMENTS_A_THREAD = 2

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, (reply: SealReply) => void>
  readonly ended: () => boolean
}

const start = (): Thread => {
  // An environment of its own: nothing of ours is for the thread to know, but where compiled code is kept, which halves its start.
  const { NODE_COMPILE_CACHE } = process.env
  const worker = new Worker(programPath(import.meta.url, "./sealWorker"), { env: NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }, name: "age" })
  const waiting: Thread["waiting"] = new Map()
  let ended = false
  const end = (fault: string): void => {
    ended = true
    for (const [id, resolve] of waiting) resolve({ id, fault })
    waiting.clear()
  }
  worker.on("message", (reply: SealReply) => {
    waiting.get(reply.id)?.(reply)
    waiting.delete(reply.id)
  })
  worker.on("error", (error) => end(error instanceof Error ? error.name : "the thread failed"))
  worker.on("exit", () => end("the thread ended"))
  return { worker, waiting, ended: () => ended }
}

/** A full disk is for its owner to know, as where this thread had written. */
const failure = ({ code, fault }: { readonly code?: string; readonly fault: string }): StageError =>
  code === undefined ? sealingFailed(fault) : artifactFailure(artifactIo("storing a sealed segment", Object.assign(new Error(code), { code })))

export const makeSealPool = Effect.fnUntraced(function*(threads: number): Effect.fn.Return<Sealer, StageError, ArtifactStore | Scope.Scope> {
  // Before the threads, as its files are removed when they have ended.
  const staging = yield* Effect.mapError((yield* ArtifactStore).staging, artifactFailure)
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: threads }, start)),
    (all) => Effect.promise(() => Promise.all(all.map(({ worker }) => worker.terminate())))
  )
  let id = 0
  const ask = (job: SealJob) =>
    Effect.callback<{ readonly file: StagedFile; readonly tokens: number | undefined }, StageError>((resume) => {
      const thread = pool.reduce((least, next) => (next.waiting.size < least.waiting.size ? next : least))
      const request: SealRequest = { ...job, id: id++, path: staging.path() }
      thread.waiting.set(request.id, (reply) => resume(reply.fault === undefined ? Effect.succeed(reply) : Effect.fail(failure(reply))))
      if (thread.ended()) resume(Effect.fail(sealingFailed("a thread ended")))
      else thread.worker.postMessage(request, [])
    })
  return {
    width: SEGMENTS_A_THREAD * threads,
    seal: (job) => Effect.flatMap(ask(job), ({ file, tokens }) => Effect.map(Effect.mapError(staging.put(file, AGE_MEDIA_TYPE), artifactFailure), (artifact) => ({ artifact, tokens }))),
    finish: Effect.mapError(staging.sync, artifactFailure)
  }
})
