/** The serve stage: our model server behind the gateway; base and fine-tuned model are asked the same, where a question was given. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { bringUp, completes, freePort, type ServeContext, standing } from "../serving/endpoint.ts"
import { awaitReady } from "../serving/ModelServer.ts"
import { layOut } from "../serving/ServerFiles.ts"
import { pythonEnvironment } from "../trainer/Environment.ts"
import { signs, startServer } from "./ModelServer.ts"
import type { Options } from "./Options.ts"
import { askBase, PROBE_TOKENS, shown } from "./probe.ts"

export const serve = Effect.fn("transformers.serve")(function* (context: ServeContext<Options>) {
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { options } = context
  const { packaged } = context.input
  const name = options.name ?? packaged.name
  const { before, stands } = yield* standing(context)
  if (stands) return before.endpoint

  const { python } = yield* pythonEnvironment(context.cache)
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const files = yield* layOut(packaged.exported, directory)
  yield* freePort(options.port, before)
  const server = yield* startServer(context, python, files, name, directory)
  // beside the server's start: both load for seconds
  const asking = options.probe === undefined ? undefined : yield* Effect.forkChild(Effect.result(askBase(python, files, options.probe, options.device, directory)))
  const { chat, endpoint } = yield* bringUp(context, { name, upstreamModel: name, server, before }, awaitReady(server, name, signs))
  if (asking !== undefined && options.probe !== undefined) {
    // an answer that does not come is told, and fails nothing: the endpoint is up
    const base = yield* Fiber.join(asking)
    const tuned = yield* Effect.result(completes(endpoint, { chat, question: options.probe, maxTokens: PROBE_TOKENS }))
    yield* base._tag === "Success" ? progress.log(`base model: ${shown(base.success)}`) : progress.log(`base model could not be asked: ${base.failure}`, "warn")
    yield* tuned._tag === "Success" ? progress.log(`fine-tuned: ${shown(tuned.success)}`) : progress.log(`fine-tuned model could not be asked: ${tuned.failure.message}`, "warn")
  }
  return endpoint
})
