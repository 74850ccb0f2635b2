/** A model server as a job: followed until it gives a real completion. */
import { createHash } from "node:crypto"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type JobHandle, Jobs, type JobState } from "@hypernode/engine/capability/Jobs"
import { homeAt } from "@hypernode/engine/Home"
import { lastLines, logTail } from "@hypernode/engine/jobs/logTail"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { completeDirectly, health } from "./Client.ts"

/** A large model on a slow disk needs minutes. */
const READY_SECONDS = 900
/** A server that crashes later is brought back by its supervisor. */
export const RESTARTS = 5
/** Longer than servers take for answers under way. */
export const GRACE_MILLIS = 25_000

export interface ModelServer {
  readonly handle: JobHandle
  /** as the gateway wants it */
  readonly upstream: string
}

/** What a server that is up says of itself. */
export interface Readiness {
  /** false: the model has no chat template */
  readonly chat: boolean
  /** what it runs on, for the log */
  readonly device: string
}

/** Where a server of this attempt listens: a socket that only this user can open, or a port that was asked for. */
export const listenAt = Effect.fn("serving.listenAt")(function* (context: StageContext<{ readonly port?: number }, unknown>) {
  const { port } = context.options
  if (port !== undefined) return { port, upstream: `http://127.0.0.1:${port}` } as const
  const socket = join(homeAt(context.home, context.cache).sockets, `m-${createHash("sha256").update(context.jobKey).digest("hex").slice(0, 12)}.sock`)
  yield* Effect.tryPromise({
    try: () => mkdir(join(socket, ".."), { recursive: true, mode: 0o700 }),
    catch: (error) => new StageError({ reason: "Denied", message: `The directory for sockets cannot be made: ${(error as Error).message}`, remedy: "Set HYPER_HOME to a directory that you may write." })
  })
  return { socket, upstream: `unix:${socket}` } as const
})

/** How one kind of server shows that it is up, and why it is not. */
export interface Signs {
  /** from the body of its `GET /health` */
  readonly readiness: (health: string) => Readiness
  /** true where its log says that it cannot go on, before it has ended */
  readonly gaveUp?: (log: string) => boolean
  readonly failure: (log: string, state: JobState) => StageError
}

/** Completes when the server has given a token as `model`. Fails as soon as it ends, or says that it cannot. */
export const awaitReady = Effect.fn("serving.awaitReady")(function* (server: ModelServer, model: string, signs: Signs): Effect.fn.Return<Readiness, StageError, Jobs | Progress> {
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { directory } = server.handle
  let ran = false
  for (let waited = 0; waited < READY_SECONDS * 10; waited++) {
    // the state first: another program on the same port must not be taken for a server that has just ended
    const state = yield* Effect.mapError(jobs.state(server.handle), jobFailure)
    if (state._tag === "Ended" || state._tag === "Lost" || (ran && state._tag === "Starting") || signs.gaveUp?.(logTail(directory)) === true) {
      return yield* signs.failure(logTail(directory), state)
    }
    ran = ran || state._tag === "Running"
    const said = ran ? yield* Effect.promise(() => health(server.upstream)) : undefined
    if (said !== undefined) {
      const ready = signs.readiness(said)
      yield* Effect.tryPromise({
        try: () => completeDirectly(server.upstream, model, ready.chat),
        catch: (error) => new StageError({ reason: "JobFailed", message: `The model server is up and gives no completion: ${(error as Error).message}` })
      })
      return ready
    }
    if (waited > 0 && waited % 20 === 0) yield* progress.report({ done: waited / 10, unit: "s", label: "loading the model" })
    yield* Effect.sleep("100 millis")
  }
  return yield* new StageError({ reason: "Unavailable", message: `The model server is not ready after ${READY_SECONDS} s. Its last words:\n${lastLines(logTail(directory), 6)}` })
})
