/** Threads that seal segments side by side, for as long as the scope lives. `threads` 0 seals in place. */
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { programPath } from "@hypernode/engine/program"
import { StageError } from "@hypernode/engine/stage/StageError"
import { type SealedBytes, type SealJob, sealSegment } from "./sealSegment.ts"
import type { SealReply, SealRequest } from "./sealWorker.ts"

export type Seal = (job: SealJob) => Effect.Effect<SealedBytes, StageError>

const failed = (why: string): StageError => new StageError({ reason: "Internal", message: `Sealing a segment failed (${why}).` })

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, (reply: SealReply) => void>
  readonly ended: () => boolean
}

const start = (): Thread => {
  // An environment of its own: nothing of ours is for the thread to know.
  const worker = new Worker(programPath(import.meta.url, "./sealWorker"), { env: {}, name: "age" })
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

export const makeSealPool = Effect.fnUntraced(function*(threads: number): Effect.fn.Return<Seal, never, Scope.Scope> {
  if (threads === 0) return (job) => Effect.tryPromise({ try: () => sealSegment(job), catch: (cause) => failed(cause instanceof Error ? cause.name : "unknown failure") })
  const pool = yield* Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: threads }, start)),
    (all) => Effect.promise(() => Promise.all(all.map(({ worker }) => worker.terminate())))
  )
  let id = 0
  return (job) =>
    Effect.callback<SealedBytes, StageError>((resume) => {
      const thread = pool.reduce((least, next) => (next.waiting.size < least.waiting.size ? next : least))
      const request: SealRequest = { ...job, id: id++ }
      thread.waiting.set(request.id, (reply) => resume(reply.fault === undefined ? Effect.succeed(reply) : Effect.fail(failed(reply.fault))))
      if (thread.ended()) resume(Effect.fail(failed("a thread ended")))
      else thread.worker.postMessage(request, [])
    })
})
