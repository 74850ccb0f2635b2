/** The API's Engine over this home: the Runner and its stores, each answer scoped to a tenant. */
import { Engine, EngineError } from "@hypernode/api/Engine"
import type { Cost, Dashboard, EndpointView, PlanView, Rewards } from "@hypernode/api/contract/views"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { engineHere } from "@hypernode/engine/containers/engineHere"
import { Endpoints, type EndpointRecord } from "@hypernode/engine/capability/Endpoints"
import { Ledger } from "@hypernode/engine/rewards/Ledger"
import { costOf, priceOf } from "@hypernode/engine/rewards/cost"
import { Durable } from "@hypernode/engine/run/Durable"
import { foldRun, type Run } from "@hypernode/engine/run/Run"
import { Runner, type Submission } from "@hypernode/engine/run/Runner"
import { RunStore } from "@hypernode/engine/run/RunStore"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import { Duration, Effect, Layer, Option, Stream } from "effect"
import { basename, dirname } from "node:path"
import { noteLastPlan } from "../../plan/lastPlan.ts"
import { planView } from "../../plan/planView.ts"
import { version } from "../../version.ts"
import { catalogue } from "./catalogue.ts"
import { readJobLog } from "./jobLog.ts"
import { deviceClassOf, settlementOf, summaryOf } from "./runViews.ts"

const SAMPLE_POLL = Duration.millis(300)
const ALL = 1_000_000

const failed = (error: { readonly _tag: string; readonly message: string; readonly remedy?: string | undefined }): EngineError => {
  const remedy = error.remedy === undefined ? {} : { remedy: error.remedy }
  switch (error._tag) {
    case "RunNotFound":
      return new EngineError({ kind: "not-found", code: "run_not_found", message: error.message, remedy: "hyper runs lists them" })
    case "RunHasEnded":
      return new EngineError({ kind: "conflict", code: "run_ended", message: error.message, ...remedy })
    case "PlanError":
      return new EngineError({ kind: "invalid", code: "plan_invalid", message: error.message, ...remedy })
    default:
      return new EngineError({ kind: "unavailable", code: "store_unavailable", message: error.message, ...remedy })
  }
}

const endpointView = ({ endpoint, lastCompletionAt, runId, state }: EndpointRecord): EndpointView => ({ ...endpoint, runId, state, lastCompletionAt })

export const EngineLive = Layer.effect(
  Engine,
  Effect.gen(function*() {
    const home = yield* CurrentHome
    const store = yield* RunStore
    const runner = yield* Runner
    const durable = yield* Durable
    const telemetry = yield* TelemetryStore
    const ledger = yield* Ledger
    const endpoints = yield* Endpoints
    const project = basename(home.root) === ".hyper" ? dirname(home.root) : process.cwd()

    const load = (tenant: string, idOrPrefix: string): Effect.Effect<Run, EngineError> =>
      Effect.gen(function*() {
        const id = yield* store.resolve(tenant, idOrPrefix)
        const run = foldRun(yield* store.events(id))
        if (run === undefined || run.tenant !== tenant) return yield* new EngineError({ kind: "not-found", code: "run_not_found", message: `there is no run ${idOrPrefix}`, remedy: "hyper runs lists them" })
        return run
      }).pipe(Effect.mapError((error) => (error._tag === "EngineError" ? error : failed(error))))

    /** of runs that have ended: their samples grow no more */
    const costs = new Map<string, Cost>()
    const costFor = (run: Run): Effect.Effect<Cost, EngineError> => {
      const known = run.endedAt === undefined ? undefined : costs.get(`${run.id}.${run.generation}`)
      return known === undefined ? measure(run).pipe(Effect.tap((cost) => Effect.sync(() => { if (run.endedAt !== undefined) costs.set(`${run.id}.${run.generation}`, cost) }))) : Effect.succeed(known)
    }
    const measure = (run: Run): Effect.Effect<Cost, EngineError> =>
      telemetry.samples(run.id, { limit: ALL }).pipe(
        Effect.mapError(failed),
        Effect.map((samples) => {
          const deviceClass = deviceClassOf(run)
          const { deviceMilliseconds, dollars } = costOf(samples, deviceClass)
          const cost = { dollars, deviceSeconds: deviceMilliseconds / 1000, pricePerSecond: Number(priceOf(deviceClass).microdollars) / 1e6 }
          const step = samples.findLast((s) => s.kind === "step" && s.rank === 0)
          const left = run.endedAt === undefined && step?.totalSteps !== undefined && step.step > 0 ? (cost.dollars * step.totalSteps) / step.step : undefined
          return { ...cost, ...(left === undefined ? {} : { forecastDollars: left }) }
        })
      )

    const summaries = (tenant: string, limit: number) =>
      Effect.gen(function*() {
        const ids = yield* store.list(tenant, limit).pipe(Effect.mapError(failed))
        const runs = yield* Effect.forEach(ids, (id) => load(tenant, id), { concurrency: 8 })
        return yield* Effect.forEach(runs, (run) => costFor(run).pipe(Effect.map((cost) => summaryOf(run, cost.dollars))), { concurrency: 8 })
      })

    const ownEndpoint = (tenant: string, id: string) =>
      endpoints.get(id).pipe(
        Effect.mapError(failed),
        Effect.flatMap((record) =>
          record !== undefined && record.tenant === tenant
            ? Effect.succeed(record)
            : Effect.fail(new EngineError({ kind: "not-found", code: "endpoint_not_found", message: `there is no endpoint ${id}`, remedy: "hyper endpoints lists them" }))
        )
      )

    const plan = (request: Parameters<typeof planView>[1]) => planView(home, request).pipe(Effect.mapError(failed))

    const submit = (submission: Submission) =>
      runner.submit(submission).pipe(
        Effect.mapError(failed),
        // a convenience for `hyper plan`: a full disk here must not lose the run
        Effect.tap((runId) => Effect.ignore(Effect.try(() => noteLastPlan(home, submission.tenant, { runId, plan: submission.plan }))))
      )

    return Engine.of({
      info: Effect.map(Effect.promise(() => engineHere().then(({ local, remapped }) => local && !remapped, () => false)), (containers) => ({ version, executor: durable.executor, containers })),
      planFile: (request) => plan({ ...request, projectDirectory: request.projectDirectory ?? project }),
      submit,
      deploy: ({ by, form, tenant }) =>
        Effect.gen(function*() {
          const { pipelineSource } = yield* Effect.promise(() => import("@hypernode/api/contract/pipelineSource"))
          const view: PlanView = yield* plan({ tenant, source: pipelineSource(form), projectDirectory: project, params: {} })
          const refused = view.warnings.find((w) => w.level === "refuse")
          if (refused !== undefined) {
            return yield* new EngineError({ kind: "denied", code: "plan_refused", message: refused.message, ...(refused.remedy === undefined ? {} : { remedy: refused.remedy }) })
          }
          return { runId: yield* submit({ tenant, plan: view.plan, projectDirectory: project, by }) }
        }),
      runs: summaries,
      run: load,
      events: (tenant, runId, after) => load(tenant, runId).pipe(Effect.flatMap((run) => store.events(run.id, after).pipe(Effect.mapError(failed)))),
      follow: (tenant, runId, after) => Stream.unwrap(load(tenant, runId).pipe(Effect.map((run) => store.follow(run.id, after).pipe(Stream.mapError(failed))))),
      samples: (tenant, runId, after, limit) => load(tenant, runId).pipe(Effect.flatMap((run) => telemetry.samples(run.id, { after, limit }).pipe(Effect.mapError(failed)))),
      followSamples: (tenant, runId, after) =>
        Stream.unwrap(
          load(tenant, runId).pipe(
            Effect.map((run) =>
              Stream.paginate(after, (cursor) =>
                telemetry.samples(run.id, { after: cursor, limit: 2_000 }).pipe(
                  Effect.mapError(failed),
                  Effect.tap((rows) => (rows.length === 0 ? Effect.sleep(SAMPLE_POLL) : Effect.void)),
                  Effect.map((rows) => [rows, Option.some(rows.at(-1)?.id ?? cursor)] as const)
                )
              )
            )
          )
        ),
      logs: (tenant, runId, stepId, offset) => load(tenant, runId).pipe(Effect.flatMap((run) => Effect.promise(() => readJobLog(run, stepId, offset)))),
      cancel: (tenant, runId, by) =>
        load(tenant, runId).pipe(Effect.flatMap((run) => (run.endedAt === undefined ? runner.cancel(run.id, by).pipe(Effect.mapError(failed), Effect.catchIf((e) => e.code === "run_ended", () => Effect.void)) : Effect.void))),
      resume: (tenant, runId, by) => load(tenant, runId).pipe(Effect.flatMap((run) => runner.resume(run.id, by).pipe(Effect.mapError(failed)))),
      cost: (tenant, runId) => load(tenant, runId).pipe(Effect.flatMap(costFor)),
      rewards: (tenant, runId, node) =>
        Effect.gen(function*() {
          const run = yield* load(tenant, runId)
          const explanations = yield* ledger.explain(run.id, node).pipe(Effect.mapError(failed))
          const settlement = settlementOf(run)
          return { explanations, ...(settlement === undefined ? {} : { settlement }) } satisfies Rewards
        }),
      endpoints: (tenant) => endpoints.list(tenant).pipe(Effect.mapError(failed), Effect.map((all) => all.filter((e) => e.state !== "stopped").map(endpointView))),
      stopEndpoint: (tenant, id) => ownEndpoint(tenant, id).pipe(Effect.flatMap(() => endpoints.stop(id).pipe(Effect.mapError(failed)))),
      endpointKey: (tenant, id) => ownEndpoint(tenant, id).pipe(Effect.flatMap(() => endpoints.apiKey(id).pipe(Effect.mapError(failed)))),
      models: (tenant) =>
        Effect.gen(function*() {
          const ids = yield* store.list(tenant, 100).pipe(Effect.mapError(failed))
          const runs = yield* Effect.forEach(ids, (id) => load(tenant, id), { concurrency: 8 })
          return catalogue(project, runs)
        }),
      dashboard: (tenant) =>
        Effect.gen(function*() {
          const recent = yield* summaries(tenant, 200)
          const all = yield* endpoints.list(tenant).pipe(Effect.mapError(failed))
          const balances = yield* ledger.balances(tenant).pipe(Effect.mapError(failed))
          const costs = yield* Effect.forEach(recent.slice(0, 200), (r) => load(tenant, r.id).pipe(Effect.flatMap(costFor)), { concurrency: 8 })
          const counted = (state: string) => recent.filter((r) => r.state === state).length
          return {
            tenant,
            runs: {
              total: recent.length,
              running: recent.filter((r) => r.endedAt === undefined).length,
              succeeded: counted("succeeded"),
              failed: counted("failed"),
              cancelled: counted("cancelled")
            },
            recent: recent.slice(0, 10),
            endpoints: all.filter((e) => e.state !== "stopped").map(endpointView),
            cost: { dollars: costs.reduce((t, c) => t + c.dollars, 0), deviceSeconds: costs.reduce((t, c) => t + c.deviceSeconds, 0) },
            balances
          } satisfies Dashboard
        })
    })
  })
)
