/** From signed work to tokens in a wallet: the reward stage, the real ledger, the outbox, and the real token programs. */
import { generateKeyPairSync, sign } from "node:crypto"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import type { ShortStage, StageContext } from "@hypernode/engine/plugin/Plugin"
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import { layer as ledgerLayer } from "@hypernode/engine/rewards/SqlLedger"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { GENESIS, makeBatch, nodeIdOf, signerOf } from "@hypernode/engine/telemetry/batch"
import { layer as telemetryLayer } from "@hypernode/engine/telemetry/SqlTelemetryStore"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import { generateKeyPairSigner } from "@solana/kit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { solana } from "../../src/solana/index.ts"
import plugin, { type SolanaOptions } from "../../src/solana/plugin.ts"
import { fair } from "./RpcServer.ts"
import { railOf } from "./schedule.ts"
import { HYPER, makeWorld, type World } from "./world.ts"

const logged: Array<string> = []
const services = Layer.mergeAll(
  telemetryLayer,
  ledgerLayer,
  outboxLayer,
  Layer.mock(Endpoints)({}),
  Layer.succeed(Progress, Progress.of({ log: (message) => Effect.sync(() => void logged.push(message)), report: () => Effect.void }))
)
const database = testDatabase(services)
const run = <A, E>(effect: Effect.Effect<A, E, any>): Promise<A> => database.run(effect)
let world: World
beforeAll(async () => { world = await makeWorld("plugin") })
afterAll(() => world.stop())
beforeEach(() => {
  world.settings()
  world.server.weather = () => fair
})

const stage = plugin.stages.reward!
const body = stage.body as ShortStage<SolanaOptions, Kinds["reward"]["input"], Kinds["reward"]["output"]>
const options: SolanaOptions = { pool: "100 HYPER", challengeWindow: "0 s" }
const context = <Input>(runId: string, input: Input): StageContext<SolanaOptions, Input> => ({
  tenant: "default", runId, stepId: "reward", attempt: 1, jobKey: `${runId}/reward/1`, effectKey: `${runId}/reward`, pipeline: "p", options, input, projectDirectory: world.home, scratch: world.home, home: world.home, cache: world.home
})
const trained = { jobId: "job", deviceClass: "cpu" } as Kinds["reward"]["input"]["trained"]

it("takes what the factory writes, and says before anything runs what it will do", async () => {
  expect(solana({ pool: "100 HYPER" })).toMatchObject({ kind: "reward", plugin: { id: "solana", specifier: "@hypernode/plugins/solana" } })
  const estimate = await Effect.runPromise(stage.estimate!({ pool: "100 HYPER" }, { projectDirectory: "/" }))
  expect(estimate.sideEffects.join()).toContain("sends transactions on Solana")
  expect(estimate.notes.map(({ message }) => message).join()).toMatch(/links a node to a wallet.*test issuance/)
})
it("accrues for measured work, and pays it to the wallet that the node registered", async () => {
  await run(stage.open!(context("paid", undefined)))
  const { privateKey } = generateKeyPairSync("ed25519")
  const node = nodeIdOf(privateKey)
  await run(TelemetryStore.use((store) => store.append("paid", "train", makeBatch({ job: "job", node, sequence: 0, previous: GENESIS, samples: [{ at: Date.now() + 10_000, rank: 0, kind: "work", step: 1, workMilliseconds: 1000 }] }, signerOf(privateKey)))))
  const settlement = await run(body.run(context("paid", { trained })))
  expect(settlement).toMatchObject({ accruedUnits: String(100n * HYPER), accruals: [{ node }] })
  expect(logged.join("\n")).toContain("hyper rewards address")
  const pay = () => run(Effect.flatMap(railOf(world, { timeout: 5_000, pause: 0 }), (rail) => payOut(rail, 20_000)))
  expect(await pay()).toEqual({ payouts: [], refused: [] })
  const wallet = (await generateKeyPairSigner()).address
  await run(PayoutOutbox.use((outbox) => outbox.register(node, "solana", wallet, (bytes) => Effect.succeed(sign(null, bytes, privateKey).toString("base64")))))
  expect(await pay()).toMatchObject({ payouts: [{ state: "confirmed", units: 100n * HYPER }] })
  expect(await world.balanceOf(wallet)).toBe(100n * HYPER)
})
it("refuses to start a run whose rewards could never be paid; a node that is out of reach today is no reason", async () => {
  rmSync(join(world.home, "solana.json"))
  await expect(run(stage.open!(context("unset", undefined)))).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("no solana.json"), remedy: expect.stringMatching(/for example.*or use the ledger plugin/) })
  world.settings({ mint: await world.makeMint(6) })
  await expect(run(stage.open!(context("decimals", undefined)))).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("6 decimals") })
  world.settings()
  world.server.weather = () => ({ ...fair, refusal: 503 })
  await run(stage.open!(context("away", undefined)))
})
