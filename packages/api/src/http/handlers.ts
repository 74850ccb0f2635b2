/** The contract's endpoints over the Engine port. Each is one call; what takes thought is in the engine. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { AuthStore } from "../auth/AuthStore.ts"
import { Api } from "../contract/Api.ts"
import { Caller, type CallerInfo } from "../contract/Caller.ts"
import { settledForm } from "../contract/DeployForm.ts"
import { pipelineSource } from "../contract/pipelineSource.ts"
import { Forbidden, type Problem } from "../contract/Problem.ts"
import { Engine, EngineError } from "../Engine.ts"
import { jobStatus } from "./jobStatus.ts"
import { invalidRequest, problemBody, problemOf } from "./problem.ts"

/** Runs `f` as the caller; the engine's error becomes the wire's. */
const asCaller = <A>(f: (caller: CallerInfo) => Effect.Effect<A, EngineError | Problem>): Effect.Effect<A, Problem> =>
  Effect.flatMap(Caller, (caller) => Effect.mapError(f(caller), (error) => (error instanceof EngineError ? problemOf(caller.requestId, error) : error)))

const ownerOnly = (caller: CallerInfo, what: string): Effect.Effect<void, Forbidden> =>
  caller.owner
    ? Effect.void
    : Effect.fail(
        new Forbidden({
          error: problemBody(caller.requestId, "owner_only", `${what} is for the home's owner, over its Unix socket`, "Send the pipeline's text as `source` to /api/v1/plan, or a form to /api/deploy_model")
        })
      )

const storeFault = (caller: CallerInfo) => (error: { readonly message: string }) =>
  problemOf(caller.requestId, new EngineError({ kind: "unavailable", code: "store_unavailable", message: error.message, remedy: "hyper doctor" }))

const runs = HttpApiBuilder.group(
  Api,
  "runs",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    return handlers.handleAll({
      list: ({ query }) => asCaller(({ tenant }) => Effect.map(engine.runs(tenant, query.limit ?? 50), (runs) => ({ runs }))),
      get: ({ params }) => asCaller(({ tenant }) => engine.run(tenant, params.id)),
      submit: ({ payload }) =>
        asCaller((caller) =>
          Effect.andThen(
            ownerOnly(caller, "Submitting a plan"),
            Effect.map(engine.submit({ tenant: caller.tenant, plan: payload.plan, projectDirectory: payload.projectDirectory, by: caller.by }), (id) => ({ id }))
          )
        ),
      cancel: ({ params }) => asCaller(({ by, tenant }) => Effect.as(engine.cancel(tenant, params.id, by), { id: params.id })),
      resume: ({ params }) => asCaller(({ by, tenant }) => Effect.as(engine.resume(tenant, params.id, by), { id: params.id })),
      events: ({ params, query }) => asCaller(({ tenant }) => Effect.map(engine.events(tenant, params.id, query.after ?? 0), (events) => ({ events }))),
      samples: ({ params, query }) => asCaller(({ tenant }) => Effect.map(engine.samples(tenant, params.id, query.after ?? 0, query.limit ?? 5_000), (samples) => ({ samples }))),
      logs: ({ params, query }) => asCaller(({ tenant }) => engine.logs(tenant, params.id, query.step, query.offset ?? 0)),
      cost: ({ params }) => asCaller(({ tenant }) => engine.cost(tenant, params.id)),
      rewards: ({ params, query }) => asCaller(({ tenant }) => engine.rewards(tenant, params.id, query.node))
    })
  })
)

const endpoints = HttpApiBuilder.group(
  Api,
  "endpoints",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    return handlers.handleAll({
      list: () => asCaller(({ tenant }) => Effect.map(engine.endpoints(tenant), (endpoints) => ({ endpoints }))),
      stop: ({ params }) => asCaller(({ tenant }) => Effect.as(engine.stopEndpoint(tenant, params.id), { id: params.id })),
      key: ({ params }) => asCaller(({ tenant }) => Effect.map(engine.endpointKey(tenant, params.id), (key) => ({ key })))
    })
  })
)

const plan = HttpApiBuilder.group(
  Api,
  "plan",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    return handlers.handleAll({
      plan: ({ payload }) =>
        asCaller((caller) =>
          Effect.gen(function*() {
            const given = [payload.path, payload.source, payload.form].filter((value) => value !== undefined)
            if (given.length !== 1) return yield* invalidRequest(caller.requestId, "Send exactly one of `path`, `source` and `form`")
            if (payload.path !== undefined || payload.projectDirectory !== undefined) yield* ownerOnly(caller, "Naming a path of this machine")
            const source = payload.form === undefined ? payload.source : pipelineSource(settledForm(payload.form, yield* engine.info))
            return yield* engine.planFile({
              tenant: caller.tenant,
              ...(payload.path === undefined ? {} : { path: payload.path }),
              ...(source === undefined ? {} : { source }),
              ...(payload.projectDirectory === undefined ? {} : { projectDirectory: payload.projectDirectory }),
              params: payload.params ?? {}
            })
          })
        ),
      models: () => asCaller(({ tenant }) => engine.models(tenant))
    })
  })
)

const access = HttpApiBuilder.group(
  Api,
  "access",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    const auth = yield* AuthStore
    return handlers.handleAll({
      me: () => asCaller(({ by, owner, scopes, tenant }) => Effect.map(engine.info, (info) => ({ tenant, by, scopes, owner, ...info }))),
      loginLink: () => asCaller((caller) => Effect.mapError(auth.createLink(caller.tenant, caller.by), storeFault(caller))),
      keys: () => asCaller((caller) => auth.keys(caller.tenant).pipe(Effect.map((keys) => ({ keys })), Effect.mapError(storeFault(caller)))),
      createKey: ({ payload }) =>
        asCaller((caller) => {
          const beyond = payload.scopes.find((scope) => !caller.scopes.includes(scope))
          return beyond === undefined
            ? Effect.mapError(auth.createKey(caller.tenant, payload.name, payload.scopes), storeFault(caller))
            : Effect.fail(new Forbidden({ error: problemBody(caller.requestId, "scope_missing", `A key cannot have the scope "${beyond}", which ${caller.by} lacks`) }))
        }),
      revokeKey: ({ params }) =>
        asCaller((caller) =>
          auth.revokeKey(caller.tenant, params.id).pipe(
            Effect.mapError(storeFault(caller)),
            Effect.flatMap((revoked) =>
              revoked ? Effect.succeed({ id: params.id }) : Effect.fail(problemOf(caller.requestId, new EngineError({ kind: "not-found", code: "key_not_found", message: "no such key" })))
            )
          )
        )
    })
  })
)

const mission = HttpApiBuilder.group(
  Api,
  "mission",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    return handlers.handleAll({
      deployModel: ({ payload }) =>
        asCaller(({ by, tenant }) =>
          Effect.gen(function*() {
            const { runId } = yield* engine.deploy({ tenant, form: settledForm(payload, yield* engine.info), by })
            return {
              job_id: runId,
              status_url: `/api/get_job_status?job_id=${encodeURIComponent(runId)}`,
              stream_url: `/api/v1/runs/${encodeURIComponent(runId)}/stream`
            }
          })
        ),
      listModels: () => asCaller(({ tenant }) => engine.models(tenant)),
      getJobStatus: ({ query }) => asCaller(({ tenant }) => Effect.map(engine.run(tenant, query.job_id), jobStatus)),
      userDashboard: () => asCaller(({ tenant }) => engine.dashboard(tenant))
    })
  })
)

const health = HttpApiBuilder.group(
  Api,
  "health",
  Effect.fn(function*(handlers) {
    const engine = yield* Engine
    return handlers.handleAll({ health: () => Effect.map(engine.info, (info) => ({ status: "ok" as const, ...info })) })
  })
)

export const HandlersLive = Layer.mergeAll(runs, endpoints, plan, access, mission, health)
