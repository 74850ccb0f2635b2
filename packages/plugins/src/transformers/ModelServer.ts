/** The model server of this plugin: our Python package `hyper_serve` as a job. */
import * as Effect from "effect/Effect"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import type { ServeContext } from "../serving/endpoint.ts"
import { GRACE_MILLIS, listenAt, type ModelServer, RESTARTS, type Signs } from "../serving/ModelServer.ts"
import type { ServerFiles } from "../serving/ServerFiles.ts"
import { lastWords, startFailure } from "./failures.ts"
import type { Options } from "./Options.ts"
import { pythonEnv } from "./pythonProcess.ts"

export const startServer = Effect.fn("transformers.startServer")(function* (context: ServeContext<Options>, python: string, files: ServerFiles, name: string, directory: string) {
  const jobs = yield* Jobs
  const { device, maxTokens } = context.options
  const { port, socket, upstream } = yield* listenAt(context)
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
        ...(socket === undefined ? ["--port", String(port)] : ["--socket", socket])
      ],
      env: pythonEnv(directory),
      restarts: RESTARTS,
      graceMillis: GRACE_MILLIS
    })
    .pipe(Effect.mapError(jobFailure))
  return { handle, upstream } satisfies ModelServer
})

export const signs: Signs = {
  readiness: (health) => JSON.parse(health) as { readonly chat: boolean; readonly device: string },
  gaveUp: (log) => lastWords(log) !== undefined,
  failure: startFailure
}
