/** The plugin against the real ledger and telemetry store on a private PostgreSQL. */
import { generateKeyPairSync } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { type EndpointRecord, Endpoints } from "@hypernode/engine/capability/Endpoints"
import { homeAt } from "@hypernode/engine/Home"
import type { ShortStage, StageContext } from "@hypernode/engine/plugin/Plugin"
import { Ledger } from "@hypernode/engine/rewards/Ledger"
import { layer as ledgerLayer } from "@hypernode/engine/rewards/SqlLedger"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { layer as databaseLayer } from "@hypernode/engine/store/Database"
import { GENESIS, makeBatch, nodeIdOf, signerOf } from "@hypernode/engine/telemetry/batch"
import { layer as telemetryLayer } from "@hypernode/engine/telemetry/SqlTelemetryStore"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, beforeAll, expect, it } from "vitest"
import plugin, { type LedgerOptions } from "../../src/ledger/plugin.ts"

const definition = plugin.stages.reward!
const body = definition.body as ShortStage<LedgerOptions, Kinds["reward"]["input"], Kinds["reward"]["output"]>
const logged: Array<string> = []
let endpointState: EndpointRecord["state"] = "healthy"
let root = ""
let runtime: ManagedRuntime.ManagedRuntime<any, unknown>
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "lp-"))
  const services = Layer.mergeAll(
    telemetryLayer,
    ledgerLayer,
    Layer.mock(Endpoints)({ get: (id) => Effect.succeed({ endpoint: { id }, state: endpointState, job: { id: "serve-job" } } as EndpointRecord) }),
    Layer.succeed(Progress, Progress.of({ log: (message) => Effect.sync(() => void logged.push(message)), report: () => Effect.void }))
  )
  runtime = ManagedRuntime.make(Layer.provide(services, Layer.provide(databaseLayer, Layer.succeed(CurrentHome, homeAt(root, join(root, "cache"))))))
})
afterAll(async () => {
  await runtime.dispose()
  await rm(root, { recursive: true, force: true })
})
const run = <A, E>(effect: Effect.Effect<A, E, any>): Promise<A> => runtime.runPromise(effect)
const context = <Input>(runId: string, input: Input, options: LedgerOptions = { pool: "100 HYPER" }): StageContext<LedgerOptions, Input> => ({
  tenant: "local", runId, stepId: "reward", attempt: 1, jobKey: `${runId}/reward/1`, effectKey: `${runId}/reward`, pipeline: "p", options, input, projectDirectory: root, scratch: root, home: root, cache: root
})
const trained = { jobId: "train-job", deviceClass: "cpu" } as Kinds["reward"]["input"]["trained"]

const report = async (runId: string, job: string, workMilliseconds: number) => {
  const { privateKey } = generateKeyPairSync("ed25519")
  const node = nodeIdOf(privateKey)
  const batch = makeBatch({ job: `${job}-${runId}`, node, sequence: 0, previous: GENESIS, samples: [{ at: Date.now() + 10_000, rank: 0, kind: "work", step: 1, tokens: 5, workMilliseconds }] }, signerOf(privateKey))
  await run(TelemetryStore.use((store) => store.append(runId, job, batch)))
  return node
}

it("opens when the run starts, settles at the end, and says what happened", async () => {
  await run(definition.open!(context("r1", undefined)))
  const node = await report("r1", "train-job", 1000)
  const settlement = await run(body.run(context("r1", { trained })))
  expect(settlement).toMatchObject({ pool: "100 HYPER", policy: "work-v1", accruedUnits: "100000000000", accruals: [{ node, units: "100000000000", workMilliseconds: 1000 }] })
  expect(logged.join()).toContain("100 HYPER to 1 node(s), 0 HYPER returned")
  expect(await run(body.run(context("r1", { trained })))).toEqual(settlement)
  expect(await run(Ledger.use((ledger) => ledger.entries("r1")))).toHaveLength(2)
})
it("pays for the work of a run that failed, and returns the pool where none was done", async () => {
  await run(definition.open!(context("r2", undefined)))
  await report("r2", "train-job", 500)
  expect(await run(definition.close!(context("r2", undefined)))).toMatchObject({ accruedUnits: "100000000000", returnedUnits: "0" })
  await run(definition.open!(context("r3", undefined)))
  expect(await run(definition.close!(context("r3", undefined)))).toMatchObject({ accruedUnits: "0", returnedUnits: "100000000000", accruals: [] })
})
it("leaves out an endpoint that does not answer, and pays for one that does", async () => {
  const endpoint = { id: "e1" } as NonNullable<Kinds["reward"]["input"]["endpoint"]>
  const outcome = async (runId: string, state: EndpointRecord["state"]) => {
    endpointState = state
    await run(definition.open!(context(runId, undefined)))
    const { privateKey } = generateKeyPairSync("ed25519")
    const node = nodeIdOf(privateKey)
    const batch = makeBatch({ job: "serve-job", node, sequence: 0, previous: GENESIS, samples: [{ at: Date.now() + 10_000, rank: 0, kind: "work", step: 1, workMilliseconds: 100 }] }, signerOf(privateKey))
    await run(TelemetryStore.use((store) => store.append(runId, "serve", batch)))
    return run(body.run(context(runId, { trained, endpoint })))
  }
  expect(await outcome("r4", "unhealthy")).toMatchObject({ accruedUnits: "0", accruals: [{ units: "0", reason: expect.stringContaining("endpoint e1, which is unhealthy") }] })
  expect(await outcome("r5", "healthy")).toMatchObject({ accruedUnits: "100000000000" })
})
it("refuses a pool that the tenant does not have", async () => {
  await expect(run(definition.open!(context("r6", undefined, { pool: "2,000,000 HYPER" })))).rejects.toMatchObject({ reason: "Denied", remedy: expect.stringContaining("Lower the pool") })
})
