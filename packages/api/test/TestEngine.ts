/** An Engine in memory: runs are event logs that a test writes to, folded by the engine's own fold. */
import { digestOfJson } from "@hypernode/engine/artifact/Digest"
import type { Plan } from "@hypernode/engine/plan/Plan"
import { foldRun, type Run } from "@hypernode/engine/run/Run"
import type { RunEvent, StoredEvent } from "@hypernode/engine/run/RunEvent"
import { stageKinds } from "@hypernode/engine/stage/StageKind"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { DeployForm } from "../src/contract/DeployForm.ts"
import { pipelineSource } from "../src/contract/pipelineSource.ts"
import type { Catalogue, Cost, EndpointView, PlanView, Rewards, RunSummary, SampleRow } from "../src/contract/views.ts"
import { Engine, EngineError, type PlanRequest } from "../src/Engine.ts"

export const digest = (seed: string) => digestOfJson(seed)

export interface TestRun {
  readonly id: string
  readonly tenant: string
  readonly events: Array<StoredEvent>
  readonly samples: Array<SampleRow>
  log: { stepId: string; attempt: number; text: string } | undefined
  cost: Cost
  rewards: Rewards
  readonly listeners: Set<() => void>
}

const plugins: Record<string, string> = { select: "local", encrypt: "age", shard: "balanced", train: "torchrun", checkpoint: "safetensors", package: "oci", serve: "transformers", reward: "ledger" }

const inputs: Record<string, Record<string, { step: string; path: Array<string> }>> = {
  select: {},
  encrypt: { dataset: { step: "select", path: ["dataset"] }, model: { step: "select", path: ["model"] } },
  shard: { sealed: { step: "encrypt", path: [] }, model: { step: "select", path: ["model"] } },
  train: { model: { step: "select", path: ["model"] }, shards: { step: "shard", path: [] } },
  checkpoint: { trained: { step: "train", path: [] } },
  package: { checkpoint: { step: "checkpoint", path: [] } },
  serve: { packaged: { step: "package", path: [] } },
  reward: { trained: { step: "train", path: [] }, endpoint: { step: "serve", path: [] } }
}

export const planOf = (form: Pick<DeployForm, "name" | "model" | "dataset" | "method" | "epochs" | "learningRate" | "workers" | "pool" | "sandbox">): Plan => {
  const options: Record<string, unknown> = {
    select: { model: form.model, dataset: form.dataset },
    encrypt: { segmentBytes: 1_048_576 },
    shard: { parts: form.workers },
    train: { method: form.method, epochs: form.epochs, lr: form.learningRate, sandbox: form.sandbox, checkpointEvery: 50 },
    checkpoint: { keep: "best" },
    package: {},
    serve: {},
    reward: { pool: `${form.pool} HYPER` }
  }
  return {
    version: 1,
    pipeline: form.name,
    params: {},
    secrets: [],
    steps: stageKinds.map((kind) => ({
      id: kind,
      kind,
      plugin: { id: plugins[kind]!, specifier: `@hypernode/plugins/${plugins[kind]!}/plugin`, version: "0.1.0", sourceDigest: digest(kind), contractVersion: 1 },
      options: options[kind] as never,
      inputs: inputs[kind]!
    }))
  }
}

/** What an engine of a test says of its machine; a test may change it. */
export const machine = { containers: false }

export const someForm: DeployForm = { name: "support-bot", model: "./models/tiny", dataset: "./tickets.jsonl", method: "lora", epochs: 2, learningRate: 2e-4, workers: 2, pool: "100", sandbox: "auto" }

const notFound = (code: string) => new EngineError({ kind: "not-found", code, message: `internal detail that must not leak: ${code}` })

const follow = <A>(read: (seen: number) => { readonly fresh: ReadonlyArray<A>; readonly seen: number; readonly ended: boolean }, listeners: Set<() => void>) =>
  Stream.callback<A>((queue) =>
    Effect.gen(function*() {
      let seen = 0
      const pump = () => {
        const next = read(seen)
        seen = next.seen
        for (const item of next.fresh) Queue.offerUnsafe(queue, item)
        if (next.ended) Queue.endUnsafe(queue)
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          pump()
          listeners.add(pump)
        }),
        () => Effect.sync(() => listeners.delete(pump))
      )
      yield* Effect.never
    })
  )

export const makeTestEngine = (options: { readonly now?: () => number } = {}) => {
  const now = options.now ?? Date.now
  const runs = new Map<string, TestRun>()
  const endpoints: Array<EndpointView & { readonly tenant: string; readonly key: string }> = []
  const calls: Array<{ readonly method: string; readonly tenant: string; readonly detail?: unknown }> = []
  let catalogue: Catalogue = { models: [], datasets: [] }
  let onDeploy: (run: TestRun) => void = () => {}
  let counter = 0

  const append = (run: TestRun, event: RunEvent, at = now()): StoredEvent => {
    const stored: StoredEvent = { runId: run.id, seq: run.events.length + 1, at, event }
    run.events.push(stored)
    for (const listener of run.listeners) listener()
    return stored
  }

  const create = (tenant: string, plan: Plan, by = "owner", at = now()): TestRun => {
    counter += 1
    const id = `run_${counter.toString().padStart(4, "0")}${digest(`${tenant}${counter}`).slice(7, 19)}`
    const run: TestRun = { id, tenant, events: [], samples: [], log: undefined, cost: { dollars: 0, deviceSeconds: 0, pricePerSecond: 0.000192 }, rewards: { explanations: [] }, listeners: new Set() }
    runs.set(id, run)
    append(run, { _tag: "RunQueued", plan, planDigest: digestOfJson(plan), tenant, projectDirectory: "/project", by }, at)
    return run
  }

  const sample = (run: TestRun, rows: ReadonlyArray<Omit<SampleRow, "id">>) => {
    for (const row of rows) run.samples.push({ ...row, id: run.samples.length + 1 })
    for (const listener of run.listeners) listener()
  }

  const log = (run: TestRun, stepId: string, attempt: number, text: string) => {
    run.log = run.log?.stepId === stepId && run.log.attempt === attempt ? { ...run.log, text: run.log.text + text } : { stepId, attempt, text }
  }

  const find = (tenant: string, id: string): TestRun | undefined => {
    const mine = [...runs.values()].filter((run) => run.tenant === tenant)
    return id === "latest" ? mine.at(-1) : mine.find((run) => run.id === id) ?? mine.find((run) => id.length >= 4 && run.id.startsWith(id))
  }

  const own = (tenant: string, id: string): Effect.Effect<TestRun, EngineError> => Effect.suspend(() => {
    const run = find(tenant, id)
    return run === undefined ? Effect.fail(notFound("run_not_found")) : Effect.succeed(run)
  })

  const fold = (run: TestRun): Run => foldRun(run.events)!

  const summary = (run: TestRun): RunSummary => {
    const view = fold(run)
    const current = view.steps.find((step) => step.state === "failed") ?? view.steps.find((step) => step.state === "running")
    const losses = run.samples.filter((row) => row.loss !== undefined)
    return {
      id: view.id,
      pipeline: view.pipeline,
      state: view.state,
      by: view.by,
      createdAt: view.createdAt,
      ...(view.startedAt === undefined ? {} : { startedAt: view.startedAt }),
      ...(view.endedAt === undefined ? {} : { endedAt: view.endedAt }),
      steps: view.steps.map(({ id, kind, state }) => ({ id, kind, state })),
      ...(current === undefined ? {} : { detail: current.error?.message ?? current.id }),
      ...(losses.length === 0 ? {} : { lastLoss: losses.at(-1)!.loss! }),
      dollars: run.cost.dollars
    }
  }

  const planView = (plan: Plan): PlanView => ({
    plan,
    digest: digestOfJson(plan),
    steps: plan.steps.map(({ id }, index) => ({ id, cached: index < 2, why: index < 2 ? "same file, same options as run_0001" : "not run before with these inputs" })),
    estimates: { train: { seconds: [40, 90], dollars: [0.01, 0.02], sideEffects: [], tools: ["python"], hosts: [] }, reward: { sideEffects: ["moves 100 HYPER into escrow"], tools: [], hosts: [] } },
    warnings: [{ level: "warn", message: "Nothing here confines a process: training runs in a plain process", remedy: "install bubblewrap", step: "train" }]
  })

  const planned = (request: PlanRequest): Effect.Effect<Plan, EngineError> => {
    const source = request.source ?? ""
    if (!source.includes("export default pipeline(")) {
      return Effect.fail(new EngineError({ kind: "invalid", code: "plan_invalid", message: "pipeline.ts: has no default export", remedy: "end it with: export default pipeline(...)" }))
    }
    const name = /pipeline\("([^"]+)"/.exec(source)?.[1] ?? "unnamed"
    return Effect.succeed(planOf({ ...someForm, name }))
  }

  const layer = Layer.succeed(
    Engine,
    Engine.of({
      info: Effect.sync(() => ({ version: "0.1.0", executor: "embedded", ...machine })),
      planFile: (request) => Effect.map(planned(request), planView),
      submit: ({ by, plan, tenant }) => Effect.sync(() => create(tenant, plan, by).id),
      deploy: ({ by, form, tenant }) =>
        Effect.gen(function*() {
          calls.push({ method: "deploy", tenant, detail: form })
          if (form.dataset.includes("missing")) {
            return yield* new EngineError({ kind: "invalid", code: "dataset_missing", message: `${form.dataset}: there is no such file`, remedy: "Paths start at the directory of the home" })
          }
          const plan = yield* planned({ tenant, source: pipelineSource(form), params: {} })
          const run = create(tenant, planOf({ ...form, name: plan.pipeline }), by)
          onDeploy(run)
          return { runId: run.id }
        }),
      runs: (tenant, limit) => Effect.sync(() => [...runs.values()].filter((run) => run.tenant === tenant).reverse().slice(0, limit).map(summary)),
      run: (tenant, id) => Effect.map(own(tenant, id), fold),
      events: (tenant, id, after) => Effect.map(own(tenant, id), (run) => run.events.filter((event) => event.seq > after)),
      follow: (tenant, id, after) =>
        Stream.unwrap(
          Effect.map(own(tenant, id), (run) =>
            follow((seen) => {
              const from = Math.max(seen, after)
              const fresh = run.events.slice(from)
              return { fresh, seen: from + fresh.length, ended: run.events.at(-1)?.event._tag === "RunEnded" }
            }, run.listeners))
        ),
      samples: (tenant, id, after, limit) => Effect.map(own(tenant, id), (run) => run.samples.filter((row) => row.id > after).slice(0, limit)),
      followSamples: (tenant, id, after) =>
        Stream.unwrap(
          Effect.map(own(tenant, id), (run) =>
            follow((seen) => {
              const from = Math.max(seen, after)
              const fresh = run.samples.slice(from)
              return { fresh, seen: from + fresh.length, ended: false }
            }, run.listeners))
        ),
      logs: (tenant, id, stepId, offset) =>
        Effect.map(own(tenant, id), (run) => {
          const held = run.log
          if (held === undefined || (stepId !== undefined && stepId !== held.stepId)) return { text: "", nextOffset: 0 }
          const bytes = Buffer.from(held.text)
          return { text: bytes.subarray(offset, offset + 262_144).toString(), nextOffset: Math.min(bytes.length, Math.max(offset, 0) + 262_144), stepId: held.stepId, attempt: held.attempt }
        }),
      cancel: (tenant, id, by) =>
        Effect.map(own(tenant, id), (run) => {
          if (fold(run).endedAt === undefined) append(run, { _tag: "RunCancelRequested", by })
        }),
      resume: (tenant, id) =>
        Effect.flatMap(own(tenant, id), (run) =>
          fold(run).state === "succeeded" ? Effect.fail(new EngineError({ kind: "conflict", code: "run_succeeded", message: "This run has succeeded", remedy: "Start it again: hyper run" })) : Effect.void),
      cost: (tenant, id) => Effect.map(own(tenant, id), (run) => run.cost),
      rewards: (tenant, id) => Effect.map(own(tenant, id), (run) => run.rewards),
      endpoints: (tenant) => Effect.sync(() => endpoints.filter((one) => one.tenant === tenant).map(({ key: _key, tenant: _tenant, ...view }) => view)),
      stopEndpoint: (tenant, id) =>
        Effect.suspend(() => {
          const index = endpoints.findIndex((one) => one.tenant === tenant && one.id === id)
          if (index === -1) return Effect.fail(notFound("endpoint_not_found"))
          endpoints[index] = { ...endpoints[index]!, state: "stopped" }
          return Effect.void
        }),
      endpointKey: (tenant, id) =>
        Effect.suspend(() => {
          const found = endpoints.find((one) => one.tenant === tenant && one.id === id)
          return found === undefined ? Effect.fail(notFound("endpoint_not_found")) : Effect.succeed(found.key)
        }),
      models: () => Effect.sync(() => catalogue),
      dashboard: (tenant) =>
        Effect.sync(() => {
          const mine = [...runs.values()].filter((run) => run.tenant === tenant).map(summary)
          const count = (state: string) => mine.filter((run) => run.state === state).length
          return {
            tenant,
            runs: { total: mine.length, running: count("running"), succeeded: count("succeeded"), failed: count("failed"), cancelled: count("cancelled") },
            recent: mine.slice(-5).reverse(),
            endpoints: endpoints.filter((one) => one.tenant === tenant).map(({ key: _key, tenant: _tenant, ...view }) => view),
            cost: { dollars: 0, deviceSeconds: 0 },
            balances: [{ account: `tenant:${tenant}`, units: "1000000000000" }]
          }
        })
    })
  )

  return {
    layer,
    calls,
    runs,
    endpoints,
    create,
    append,
    sample,
    log,
    fold,
    setCatalogue: (value: Catalogue) => {
      catalogue = value
    },
    onDeploy: (handler: (run: TestRun) => void) => {
      onDeploy = handler
    }
  }
}

export type TestEngine = ReturnType<typeof makeTestEngine>
