/** The serve stage: vLLM as a supervised job behind the gateway. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { StageError } from "@hypernode/engine/stage/StageError"
import { bringUp, freePort, givenTo, type ServeContext, standing } from "../serving/endpoint.ts"
import { awaitReady, GRACE_MILLIS, listenAt, RESTARTS, type Signs } from "../serving/ModelServer.ts"
import { hasChatTemplate, layOut, type ServerFiles } from "../serving/ServerFiles.ts"
import { LARGEST_RANK, vllmCommand, vllmEnv } from "./command.ts"
import { startFailure } from "./failures.ts"
import { usableVllm } from "./installed.ts"
import type { Options } from "./Options.ts"

/** The largest rank in the adapter: vLLM makes room for it when it starts. */
const rankOf = Effect.fnUntraced(function* (files: ServerFiles) {
  if (files.adapter === undefined) return undefined
  const path = join(files.adapter, "adapter_config.json")
  const config = yield* Effect.tryPromise({
    try: async () => JSON.parse(await readFile(path, "utf8")) as { readonly r?: unknown; readonly rank_pattern?: Readonly<Record<string, unknown>> },
    catch: () => new StageError({ reason: "InvalidInput", message: "The package's adapter has no readable adapter_config.json.", remedy: "Serve what the checkpoint stage exports." })
  })
  const rank = Math.max(...[config.r, ...Object.values(config.rank_pattern ?? {})].map(Number))
  if (Number.isInteger(rank) && rank >= 1 && rank <= LARGEST_RANK) return rank
  return yield* new StageError({ reason: "InvalidInput", message: `vLLM serves adapters up to rank ${LARGEST_RANK}; this one has rank ${rank}.`, remedy: "Merge it into its base: safetensors({ merge: true })." })
})

export const serve = Effect.fn("vllm.serve")(function* (context: ServeContext<Options>) {
  const jobs = yield* Jobs
  const { options } = context
  const packaged = givenTo(context)
  const name = options.name ?? packaged.name
  const { before, stands } = yield* standing(context)
  if (stands) return before.endpoint

  const program = usableVllm(options)
  if (typeof program !== "string") return yield* program
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const files = yield* layOut(packaged.exported, directory)
  const loraRank = yield* rankOf(files)
  const chat = yield* hasChatTemplate(files)
  yield* freePort(options.port, before)
  const { port, socket, upstream } = yield* listenAt(context)
  const handle = yield* jobs
    .start(context.jobKey, {
      purpose: "serve",
      runId: context.runId,
      stepId: context.stepId,
      command: vllmCommand({ program, options, files, name, listen: socket === undefined ? { port } : { socket }, ...(loraRank === undefined ? {} : { loraRank }) }),
      env: vllmEnv(directory, context.cache, process.env),
      restarts: RESTARTS,
      graceMillis: GRACE_MILLIS
    })
    .pipe(Effect.mapError(jobFailure))
  const server = { handle, upstream }
  const signs: Signs = { readiness: () => ({ chat, device: options.device === "cpu" ? "vLLM on the CPU" : "vLLM" }), failure: startFailure }
  return (yield* bringUp(context, { name, upstreamModel: name, server, before }, awaitReady(server, name, signs))).endpoint
})
