/** The Runner over in-memory ports: order, cache, retries, crashes between body and record, cancellation, resume, rewards. */
import { Effect, Layer, Schema } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { digestOf } from "../../src/artifact/Digest.ts"
import { ArtifactStore } from "../../src/artifact/ArtifactStore.ts"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { Endpoints } from "../../src/capability/Endpoints.ts"
import { Containers } from "../../src/capability/Containers.ts"
import { Jobs, type JobState } from "../../src/capability/Jobs.ts"
import { Sandbox } from "../../src/capability/Sandbox.ts"
import { Secrets } from "../../src/capability/Secrets.ts"
import { homeAt } from "../../src/Home.ts"
import { Keyring } from "../../src/keys/Keyring.ts"
import { Leases } from "../../src/keys/Leases.ts"
import { Ledger } from "../../src/rewards/Ledger.ts"
import { PLAN_VERSION, type Plan } from "../../src/plan/Plan.ts"
import type { StageDefinition } from "../../src/plugin/Plugin.ts"
import { Durable } from "../../src/run/Durable.ts"
import { JobWatcher } from "../../src/run/JobWatcher.ts"
import { Runner } from "../../src/run/Runner.ts"
import { RunStore } from "../../src/run/RunStore.ts"
import { foldRun, type Run } from "../../src/run/Run.ts"
import { Stages } from "../../src/run/Stages.ts"
import { workflowId } from "../../src/run/workflow.ts"
import { StageError } from "../../src/stage/StageError.ts"
import { TelemetryStore } from "../../src/telemetry/TelemetryStore.ts"
import { MemoryDurable } from "../../src/testing/MemoryDurable.ts"
import { MemoryRunStore } from "../../src/testing/MemoryRunStore.ts"

const options = Schema.Struct({})
const blob = { digest: digestOf("x"), mediaType: "text/plain", size: 1 }
const source = { name: "d", uri: "/d", format: "text", rows: 2, bytes: 4, commitment: "c", saltKey: "s" } as const
const sealed = { keyId: "k", recipients: ["r"], commitment: "c", format: "text", rows: 2, segments: [{ index: 0, artifact: blob, rows: 2, bytes: 4 }] } as const
const settlement = { pool: "1 HYPER", poolUnits: "1", accruedUnits: "0", returnedUnits: "1", policy: "p", accruals: [], unlocksAt: 0 }

let directory: string
let bodies: Record<string, number>
let behaviour: Partial<Record<string, (count: number) => Effect.Effect<void, StageError>>>
let jobStates: Map<string, JobState>
let opened: number
let closed: number

const ran = (id: string) => Effect.suspend(() => {
  bodies[id] = (bodies[id] ?? 0) + 1
  return behaviour[id]?.(bodies[id] as number) ?? Effect.void
})

const definitions: Record<string, StageDefinition> = {
  select: { kind: "select", effect: "pure", options, body: { run: () => Effect.as(ran("select"), { dataset: source }) } } as StageDefinition,
  encrypt: { kind: "encrypt", effect: "pure", options, body: { run: () => Effect.as(ran("encrypt"), sealed) } } as StageDefinition,
  shard: {
    kind: "shard",
    effect: "pure",
    options,
    body: {
      start: (c: { jobKey: string }) => Effect.andThen(ran("shard"), Effect.sync(() => {
        if (!jobStates.has(c.jobKey)) jobStates.set(c.jobKey, { _tag: "Running", pid: 1, startedAt: 0 })
        return { id: c.jobKey, supervisor: "s", directory }
      })),
      collect: () => Effect.as(ran("collect"), { sealed, slots: [] }),
      cancel: (_c: unknown, handle: { id: string }) => Effect.sync(() => { jobStates.set(handle.id, { _tag: "Ended", exitCode: null, signal: "SIGTERM", startedAt: 0, endedAt: 1, cancelled: true }) })
    }
  } as unknown as StageDefinition,
  reward: {
    kind: "reward",
    effect: "external",
    options,
    open: () => Effect.sync(() => { opened++ }),
    close: () => Effect.sync(() => { closed++; return settlement }),
    body: { run: () => Effect.as(ran("reward"), settlement) }
  } as unknown as StageDefinition
}

const step = (id: string, inputs: Plan["steps"][number]["inputs"]): Plan["steps"][number] => ({
  id,
  kind: id,
  plugin: { id: `${id}-plugin`, specifier: "x", version: "1", sourceDigest: digestOf(id), contractVersion: 1 },
  options: {},
  inputs
})

const plan: Plan = {
  version: PLAN_VERSION,
  pipeline: "p",
  params: {},
  secrets: [],
  steps: [
    step("select", {}),
    step("encrypt", { dataset: { step: "select", path: ["dataset"] } }),
    step("shard", { sealed: { step: "encrypt", path: [] } }),
    step("reward", { trained: { step: "shard", path: [] } })
  ]
}

const jobs = Layer.sync(Jobs, () =>
  Jobs.of({
    directory: () => Effect.succeed(directory),
    start: (jobKey) => Effect.succeed({ id: jobKey, supervisor: "s", directory }),
    state: (handle) => Effect.sync(() => jobStates.get(handle.id) ?? { _tag: "Lost", message: "gone" }),
    ended: (handle) => Effect.suspend(() => {
      const state = jobStates.get(handle.id)
      return state?._tag === "Running" ? Effect.sleep(5).pipe(Effect.andThen(Effect.suspend(() => Effect.succeed(jobStates.get(handle.id) as JobState)))) : Effect.succeed(state as JobState)
    }).pipe(Effect.repeat({ until: (s) => s._tag !== "Running" })),
    cancel: () => Effect.void,
    list: Effect.succeed([])
  }))

const memory = new MemoryDurable()
let durable = memory

const services = () =>
  Layer.mergeAll(
    jobs,
    MemoryRunStore,
    Layer.succeed(Stages, { load: (s) => Effect.succeed({ definition: definitions[s.kind] as StageDefinition, options: {} }) }),
    Layer.succeed(CurrentHome, homeAt(directory, join(directory, "cache"))),
    Layer.mock(TelemetryStore)({ ingest: () => Effect.succeed([]) }),
    Layer.mock(ArtifactStore)({ has: () => Effect.succeed(true), tree: () => Effect.succeed({ files: [] }) }),
    Layer.mock(Endpoints)({}),
    Layer.mock(Keyring)({}),
    Layer.mock(Leases)({}),
    Layer.mock(Ledger)({}),
    Layer.mock(Containers)({}),
    Layer.mock(Sandbox)({}),
    Layer.mock(Secrets)({})
  )

const runnerLayer = () => Runner.layer("memory", (body) => durable.layer(body)).pipe(Layer.provideMerge(JobWatcher.layer), Layer.provideMerge(services()))

const run = <A, E>(effect: Effect.Effect<A, E, Runner | RunStore | Durable | JobWatcher>) => Effect.runPromise(Effect.scoped(Effect.provide(effect, runnerLayer())))

const submit = Effect.gen(function*() {
  return yield* (yield* Runner).submit({ tenant: "t", plan, projectDirectory: directory, by: "test" })
})
const finish = Effect.fnUntraced(function*(id: string, generation = 1) {
  yield* (yield* Durable).settled(workflowId(id, generation))
  return foldRun(yield* (yield* RunStore).events(id)) as Run
})
const endJobs = Effect.sync(() => {
  for (const id of jobStates.keys()) jobStates.set(id, { _tag: "Ended", exitCode: 0, signal: null, startedAt: 0, endedAt: 1, cancelled: false })
})
const endJobsSoon = Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep(20), endJobs)))

/** The check of every kill test: no step is started again after it has ended. */
export const startedAfterEnd = (events: ReadonlyArray<{ event: { _tag: string; step?: string } }>): Array<string> => {
  const ended = new Set<string>()
  return events.flatMap(({ event }) => {
    if (event._tag === "StepStarted" && ended.has(event.step ?? "")) return [event.step ?? ""]
    if (event._tag === "StepEnded" || event._tag === "StepCached") ended.add(event.step ?? "")
    return []
  })
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "runner-"))
  bodies = {}
  behaviour = {}
  jobStates = new Map()
  opened = closed = 0
  durable = new MemoryDurable()
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe("Runner", () => {
  it("runs a plan to its end, and the second run from the cache", () =>
    run(Effect.gen(function*() {
      const id = yield* submit
      yield* endJobsSoon
      const first = yield* finish(id)
      expect(first.state).toBe("succeeded")
      expect(first.steps.map((s) => s.state)).toEqual(["done", "done", "done", "done"])
      const second = yield* finish(yield* submit)
      expect(second.steps.map((s) => s.state)).toEqual(["cached", "cached", "cached", "done"])
      expect(bodies).toMatchObject({ select: 1, encrypt: 1, shard: 1, collect: 1, reward: 2 })
      expect([opened, closed]).toEqual([2, 0])
    })))

  it.each(["start", "reward/open", "select", "encrypt", "shard", "shard/look.0", "shard/collect", "reward", "end"])("survives a crash after %s", (at) =>
    run(Effect.gen(function*() {
      durable.crash(at)
      const id = yield* submit
      yield* endJobsSoon
      const ended = yield* finish(id)
      expect(ended.state).toBe("succeeded")
      expect(startedAfterEnd(yield* (yield* RunStore).events(id))).toEqual([])
      expect(bodies).toMatchObject({ select: 1, encrypt: 1, collect: 1, reward: 1 })
      expect(durable.entered.filter((e) => e === at)).toHaveLength(2)
    })))

  it("would catch a step that ran again after its end", () => {
    expect(startedAfterEnd([{ event: { _tag: "StepStarted", step: "a" } }, { event: { _tag: "StepEnded", step: "a" } }, { event: { _tag: "StepStarted", step: "a" } }])).toEqual(["a"])
  })

  it("tries again what may pass, and not what cannot", () =>
    run(Effect.gen(function*() {
      behaviour["encrypt"] = (n) => (n < 3 ? Effect.fail(new StageError({ reason: "Unavailable", message: "not now" })) : Effect.void)
      behaviour["collect"] = () => Effect.fail(new StageError({ reason: "InvalidInput", message: "row 3 is malformed", remedy: "mend it" }))
      const id = yield* submit
      yield* endJobsSoon
      const ended = yield* finish(id)
      expect(ended.state).toBe("failed")
      expect(bodies["encrypt"]).toBe(3)
      expect(bodies["collect"]).toBe(1)
      expect(ended.steps.find((s) => s.id === "encrypt")?.attempts).toHaveLength(3)
      expect(ended.steps.find((s) => s.id === "shard")).toMatchObject({ state: "failed", error: { reason: "InvalidInput", remedy: "mend it" } })
      // measured work is settled though the run failed
      expect([closed, ended.steps.find((s) => s.id === "reward")?.state]).toEqual([1, "done"])
    })))

  it("starts a new job when one ended badly, and gives up after three", () =>
    run(Effect.gen(function*() {
      behaviour["collect"] = (n) => (n < 2 ? Effect.fail(new StageError({ reason: "JobFailed", message: "rank 0 was killed" })) : Effect.void)
      const id = yield* submit
      yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep(10), endJobs)))
      const ended = yield* finish(id)
      expect(ended.state).toBe("succeeded")
      expect(bodies["shard"]).toBe(2)
      expect(ended.steps.find((s) => s.id === "shard")?.attempts.map((a) => a.outcome)).toEqual(["failed", "done"])
    })))

  it("cancels: the job is gone, rewards are settled, dependants never start", () =>
    run(Effect.gen(function*() {
      const id = yield* submit
      yield* Effect.sleep(50)
      yield* (yield* Runner).cancel(id, "test")
      const ended = yield* finish(id)
      expect(ended.state).toBe("cancelled")
      expect(ended.steps.map((s) => s.state)).toEqual(["done", "done", "cancelled", "done"])
      expect(bodies["reward"]).toBeUndefined()
      expect(closed).toBe(1)
      const again = yield* Effect.flip((yield* Runner).cancel(id, "test"))
      expect(again._tag).toBe("RunHasEnded")
    })))

  it("stops a step body at once when cancelled, and records nothing else of it", () =>
    run(Effect.gen(function*() {
      behaviour["encrypt"] = () => Effect.never
      const id = yield* submit
      yield* Effect.sleep(50)
      yield* (yield* Runner).cancel(id, "test")
      const ended = yield* finish(id)
      expect(ended.state).toBe("cancelled")
      expect(ended.steps.map((s) => s.state)).toEqual(["done", "cancelled", "waiting", "done"])
    })))

  it("resumes a failed run from where it failed", () =>
    run(Effect.gen(function*() {
      behaviour["encrypt"] = (n) => (n === 1 ? Effect.fail(new StageError({ reason: "OutOfSpace", message: "the disk is full" })) : Effect.void)
      const id = yield* submit
      expect((yield* finish(id)).state).toBe("failed")
      yield* (yield* Runner).resume(id, "test")
      yield* endJobsSoon
      const ended = yield* finish(id, 2)
      expect(ended.state).toBe("succeeded")
      expect(bodies["select"]).toBe(1)
      expect(startedAfterEnd(yield* (yield* RunStore).events(id))).toEqual([])
    })))
})
