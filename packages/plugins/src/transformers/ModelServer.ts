/** A model server as a job: started, followed until it gives a real completion, ended if it does not. */
import { createHash } from "node:crypto"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { type JobHandle, Jobs } from "@hypernode/engine/capability/Jobs"
import { homeAt } from "@hypernode/engine/Home"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { completeDirectly, type ServerHealth, serverHealth } from "./Client.ts"
import { jobFailure, lastWords, logTail, notReady, startFailure } from "./failures.ts"
import type { Options } from "./Options.ts"
import { pythonEnv } from "./pythonProcess.ts"
import type { ServerFiles } from "./ServerFiles.ts"

/** A large model on a slow disk needs minutes. */
const READY_SECONDS = 900
/** A server that crashes later is brought back by its supervisor. */
const RESTARTS = 5
/** Longer than the server's own 20 s for answers under way. */
const GRACE_MILLIS = 25_000

export interface ModelServer {
  readonly handle: JobHandle
  /** as the gateway wants it */
  readonly upstream: string
}

const socketOf = (context: StageContext<Options, unknown>): string =>
  join(homeAt(context.home, context.cache).sockets, `m-${createHash("sha256").update(context.jobKey).digest("hex").slice(0, 12)}.sock`)

export const startServer = Effect.fn("transformers.startServer")(function* (context: StageContext<Options, unknown>, python: string, files: ServerFiles, name: string, directory: string) {
  const jobs = yield* Jobs
  const { device, maxTokens, port } = context.options
  const socket = socketOf(context)
  yield* Effect.tryPromise({
    try: () => mkdir(join(socket, ".."), { recursive: true, mode: 0o700 }),
    catch: (error) => new StageError({ reason: "Denied", message: `The directory for sockets cannot be made: ${(error as Error).message}`, remedy: "Set HYPER_HOME to a directory that you may write." })
  })
  const handle = yield* jobs
    .start(context.jobKey, {
      purpose: "serve",
      runId: context.runId,
      stepId: context.stepId,
      command: [
        python, "-m", "hyper_serve",
        "--model", files.model,
        "--tokenizer", files.tokenizer,
        ...(files.adapter === undefined ? [] : ["--adapter", files.adapter]),
        "--name", name,
        "--device", device,
        "--max-tokens", String(maxTokens),
        ...(port === undefined ? ["--socket", socket] : ["--port", String(port)])
      ],
      env: pythonEnv(directory),
      restarts: RESTARTS,
      graceMillis: GRACE_MILLIS
    })
    .pipe(Effect.mapError(jobFailure))
  return { handle, upstream: port === undefined ? `unix:${socket}` : `http://127.0.0.1:${port}` } satisfies ModelServer
})

/** Completes when the server has given a token. Fails as soon as it ends, or says that it cannot. */
export const awaitReady = Effect.fn("transformers.awaitReady")(function* (server: ModelServer, model: string): Effect.fn.Return<ServerHealth, StageError, Jobs | Progress> {
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { directory } = server.handle
  let ran = false
  for (let waited = 0; waited < READY_SECONDS * 10; waited++) {
    // the state first: another program on the same port must not be taken for a server that has just ended
    const state = yield* Effect.mapError(jobs.state(server.handle), jobFailure)
    if (state._tag === "Ended" || state._tag === "Lost" || (ran && state._tag === "Starting") || lastWords(logTail(directory)) !== undefined) {
      return yield* startFailure(logTail(directory))
    }
    ran = ran || state._tag === "Running"
    const health = ran ? yield* Effect.promise(() => serverHealth(server.upstream)) : undefined
    if (health !== undefined) {
      yield* Effect.tryPromise({
        try: () => completeDirectly(server.upstream, model, health.chat),
        catch: (error) => new StageError({ reason: "JobFailed", message: `The model server is up and gives no completion: ${(error as Error).message}` })
      })
      return health
    }
    if (waited > 0 && waited % 20 === 0) yield* progress.report({ done: waited / 10, unit: "s", label: "loading the model" })
    yield* Effect.sleep("100 millis")
  }
  return yield* notReady(logTail(directory), READY_SECONDS)
})
