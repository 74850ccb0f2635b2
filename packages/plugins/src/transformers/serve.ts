/**
 * The serve stage: a new server first, a real completion from it, then the route, a completion through the gateway, and only then the
 * end of the server before. Whatever fails on the way leaves what was served before as it was.
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type EndpointRecord, Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Endpoint, Packaged } from "@hypernode/engine/stage/values"
import { pythonEnvironment } from "../trainer/Environment.ts"
import { completeThroughGateway, serverHealth } from "./Client.ts"
import { jobFailure } from "./failures.ts"
import { awaitReady, startServer } from "./ModelServer.ts"
import type { Options } from "./Options.ts"
import { askBase, PROBE_TOKENS, shown } from "./probe.ts"
import { layOut } from "./ServerFiles.ts"

type Context = StageContext<Options, { readonly packaged: Packaged }>

/** One endpoint for each serve step of a pipeline: a new run of it keeps URL and key. */
export const endpointId = (context: Pick<StageContext<unknown, unknown>, "tenant" | "pipeline" | "stepId">): string =>
  `ep-${createHash("sha256").update(JSON.stringify([context.tenant, context.pipeline, context.stepId])).digest("hex").slice(0, 12)}`

/** A completion with the official client, as a user would make it. Also what `alive` asks. */
export const completes = Effect.fn("transformers.completes")(function* (endpoint: Endpoint, upstream: string, question?: string) {
  const endpoints = yield* Endpoints
  const apiKey = yield* Effect.mapError(endpoints.apiKey(endpoint.id), jobFailure)
  const health = yield* Effect.promise(() => serverHealth(upstream))
  return yield* Effect.tryPromise({
    try: () => completeThroughGateway(endpoint, apiKey, question === undefined ? { chat: health?.chat ?? true, maxTokens: 1 } : { chat: health?.chat ?? true, question, maxTokens: PROBE_TOKENS }),
    catch: (error) => new StageError({ reason: "Unavailable", message: `The endpoint ${endpoint.id} gives no completion: ${(error as Error).message}`, remedy: "`hyper endpoints` shows its state; running the pipeline again replaces its server." })
  })
})

/** Routes to a server that has proved itself; back to the one before when the gateway cannot reach it. */
const switchRoute = Effect.fn("transformers.switchRoute")(function* (context: Context, name: string, server: { readonly handle: EndpointRecord["job"]; readonly upstream: string }, before: EndpointRecord | undefined) {
  const endpoints = yield* Endpoints
  const endpoint = yield* Effect.mapError(
    endpoints.register({ id: endpointId(context), tenant: context.tenant, runId: context.runId, model: name, packaged: context.input.packaged.digest, upstream: server.upstream, upstreamModel: name, job: server.handle }),
    jobFailure
  )
  const back = before === undefined || before.state === "stopped"
    ? Effect.ignore(endpoints.stop(endpoint.id))
    : Effect.ignore(endpoints.register({ id: before.endpoint.id, tenant: before.tenant, runId: before.runId, model: before.endpoint.model, packaged: before.endpoint.packaged, upstream: before.upstream, upstreamModel: before.upstreamModel, job: before.job }))
  yield* Effect.onExit(completes(endpoint, server.upstream), (exit) => (Exit.isSuccess(exit) ? Effect.void : back))
  yield* Effect.mapError(endpoints.markHealth(endpoint.id, true), jobFailure)
  return endpoint
})

export const serve = Effect.fn("transformers.serve")(function* (context: Context) {
  const endpoints = yield* Endpoints
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { options } = context
  const { packaged } = context.input
  const name = options.name ?? packaged.name
  const before = yield* Effect.mapError(endpoints.get(endpointId(context)), jobFailure)
  if (before !== undefined && before.runId === context.runId && before.state === "healthy" && before.endpoint.packaged === packaged.digest) {
    // an earlier attempt of this very step got this far before its daemon was killed
    const again = yield* Effect.result(completes(before.endpoint, before.upstream))
    if (again._tag === "Success") return before.endpoint
  }

  const { python } = yield* pythonEnvironment(context.cache)
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const files = yield* layOut(packaged.exported, directory)
  const fixedPort = options.port !== undefined && before?.upstream === `http://127.0.0.1:${options.port}`
  if (fixedPort && before.state !== "stopped") {
    yield* progress.log(`Port ${options.port} is held by this endpoint's own server: it is ended first, so requests fail until the new one is ready`, "warn")
    yield* Effect.mapError(jobs.cancel(before.job), jobFailure)
  }
  const server = yield* startServer(context, python, files, name, directory)
  // beside the server's start: both load for seconds
  const asking = options.probe === undefined ? undefined : yield* Effect.forkChild(Effect.result(askBase(python, files, options.probe, options.device, directory)))
  const bringUp = Effect.gen(function* () {
    yield* progress.log(`Starting the model server of ${name}`)
    const health = yield* awaitReady(server, name)
    if (!health.chat) yield* progress.log(`${name} has no chat template: it serves /v1/completions, not /v1/chat/completions`, "warn")
    const endpoint = yield* switchRoute(context, name, server, before)
    yield* progress.log(`${name} answers at ${endpoint.url} (${health.device})`)
    return endpoint
  })
  const endpoint = yield* Effect.onExit(bringUp, (exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.ignore(jobs.cancel(server.handle))))
  if (before !== undefined && before.job.id !== server.handle.id) yield* Effect.mapError(jobs.cancel(before.job), jobFailure)
  if (asking !== undefined && options.probe !== undefined) {
    // an answer that does not come is told, and fails nothing: the endpoint is up
    const base = yield* Fiber.join(asking)
    const tuned = yield* Effect.result(completes(endpoint, server.upstream, options.probe))
    yield* base._tag === "Success" ? progress.log(`base model: ${shown(base.success)}`) : progress.log(`base model could not be asked: ${base.failure}`, "warn")
    yield* tuned._tag === "Success" ? progress.log(`fine-tuned: ${shown(tuned.success)}`) : progress.log(`fine-tuned model could not be asked: ${tuned.failure.message}`, "warn")
  }
  return endpoint
})
