/**
 * An endpoint of a serve stage: a new server first, a real completion from it, then the route, a completion through the gateway, and only
 * then the end of the server before. Whatever fails on the way leaves what was served before as it was.
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type EndpointRecord, Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import type { Endpoint, Packaged } from "@hypernode/engine/stage/values"
import { completeThroughGateway, type Wish } from "./Client.ts"
import type { ModelServer, Readiness } from "./ModelServer.ts"

export type ServeContext<Options> = StageContext<Options, Kinds["serve"]["input"]>

/** What a serve step is given, as a package: a model that was selected is served as it is. */
export const givenTo = ({ input: { model, packaged } }: ServeContext<unknown>): Pick<Packaged, "name" | "digest" | "exported" | "image"> => {
  if (packaged !== undefined) return packaged
  if (model === undefined) throw new Error("a serve step without input") // the planner takes no such plan
  return { name: model.name, digest: model.tree.digest, exported: { base: model, form: "full", step: 0, loss: 0, tree: model.tree } }
}

/** One endpoint for each serve step of a pipeline: a new run of it keeps URL and key. */
export const endpointId = (context: Pick<StageContext<unknown, unknown>, "tenant" | "pipeline" | "stepId">): string =>
  `ep-${createHash("sha256").update(JSON.stringify([context.tenant, context.pipeline, context.stepId])).digest("hex").slice(0, 12)}`

/** Every server of ours takes a plain prompt, with or without a chat template. */
const SMALLEST: Wish = { chat: false, maxTokens: 1 }

/** A completion with the official client, as a user would make it. */
export const completes = Effect.fn("serving.completes")(function* (endpoint: Endpoint, wish: Wish = SMALLEST) {
  const endpoints = yield* Endpoints
  const apiKey = yield* Effect.mapError(endpoints.apiKey(endpoint.id), jobFailure)
  return yield* Effect.tryPromise({
    try: () => completeThroughGateway(endpoint, apiKey, wish),
    catch: (error) => new StageError({ reason: "Unavailable", message: `The endpoint ${endpoint.id} gives no completion: ${(error as Error).message}`, remedy: "`hyper endpoints` shows its state; running the pipeline again replaces its server." })
  })
})

/** What this step served before, if anything; and whether an earlier attempt of this very step had it up before its daemon was killed. */
export const standing = Effect.fn("serving.standing")(function* (context: ServeContext<unknown>) {
  const endpoints = yield* Endpoints
  const before = yield* Effect.mapError(endpoints.get(endpointId(context)), jobFailure)
  if (before === undefined || before.runId !== context.runId || before.state !== "healthy" || before.endpoint.packaged !== givenTo(context).digest) return { before, stands: false as const }
  return (yield* Effect.result(completes(before.endpoint)))._tag === "Success" ? { before, stands: true as const } : { before, stands: false as const }
})

/** A port is one server's only: where this endpoint's own server holds it, that one is ended first. */
export const freePort = Effect.fn("serving.freePort")(function* (port: number | undefined, before: EndpointRecord | undefined) {
  if (port === undefined || before === undefined || before.state === "stopped" || before.upstream !== `http://127.0.0.1:${port}`) return
  yield* Progress.use((progress) => progress.log(`Port ${port} is held by this endpoint's own server: it is ended first, so requests fail until the new one is ready`, "warn"))
  yield* Effect.mapError(Jobs.use((jobs) => jobs.cancel(before.job)), jobFailure)
})

export interface Served {
  /** that callers send */
  readonly name: string
  /** that the server knows */
  readonly upstreamModel: string
  readonly server: ModelServer
  readonly before: EndpointRecord | undefined
}

/** Routes to a server that has proved itself; back to the one before when the gateway cannot reach it. */
const switchRoute = Effect.fn("serving.switchRoute")(function* (context: ServeContext<unknown>, { before, name, server, upstreamModel }: Served, chat: boolean) {
  const endpoints = yield* Endpoints
  const endpoint = yield* Effect.mapError(
    endpoints.register({ id: endpointId(context), tenant: context.tenant, runId: context.runId, model: name, packaged: givenTo(context).digest, upstream: server.upstream, upstreamModel, job: server.handle }),
    jobFailure
  )
  const back = before === undefined || before.state === "stopped"
    ? Effect.ignore(endpoints.stop(endpoint.id))
    : Effect.ignore(endpoints.register({ id: before.endpoint.id, tenant: before.tenant, runId: before.runId, model: before.endpoint.model, packaged: before.endpoint.packaged, upstream: before.upstream, upstreamModel: before.upstreamModel, job: before.job }))
  yield* Effect.onExit(completes(endpoint, { chat, maxTokens: 1 }), (exit) => (Exit.isSuccess(exit) ? Effect.void : back))
  yield* Effect.mapError(endpoints.markHealth(endpoint.id, true), jobFailure)
  return endpoint
})

/** `ready` follows the new server until it has completed something. A server that does not come up, or is not wanted any more, is ended. */
export const bringUp = Effect.fn("serving.bringUp")(function* <R>(context: ServeContext<unknown>, served: Served, ready: Effect.Effect<Readiness, StageError, R>) {
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { before, name, server } = served
  const up = Effect.gen(function* () {
    yield* progress.log(`Starting the model server of ${name}`)
    const { chat, device } = yield* ready
    if (!chat) yield* progress.log(`${name} has no chat template: it serves /v1/completions, not /v1/chat/completions`, "warn")
    const endpoint = yield* switchRoute(context, served, chat)
    yield* progress.log(`${name} answers at ${endpoint.url} (${device})`)
    return { endpoint, chat }
  })
  const result = yield* Effect.onExit(up, (exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.ignore(jobs.cancel(server.handle))))
  if (before !== undefined && before.job.id !== server.handle.id) yield* Effect.mapError(jobs.cancel(before.job), jobFailure)
  return result
})

/** Of a cached result: the same package and model behind the same URL, and a completion through it. */
export const alive = Effect.fn("serving.alive")(function* (output: Endpoint) {
  const endpoints = yield* Endpoints
  const record = yield* Effect.mapError(endpoints.get(output.id), jobFailure)
  if (record === undefined || record.state === "stopped" || record.endpoint.packaged !== output.packaged || record.endpoint.model !== output.model) return false
  // brings the gateway back where it was killed; on another port the stored URL is no longer true
  const url = yield* Effect.mapError(endpoints.gatewayUrl, jobFailure)
  if (output.url !== `${url}/v1`) return false
  const answer = yield* Effect.result(completes(output))
  yield* Effect.mapError(endpoints.markHealth(output.id, answer._tag === "Success"), jobFailure)
  return answer._tag === "Success"
})
