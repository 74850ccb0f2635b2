/** One seeded schedule: payouts under a storm, crashes and restarts over the same database, until all is paid; and what must hold then. */
import { availableAccount, paidAccount, payingAccount } from "@hypernode/engine/rewards/accounts"
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import type { PayoutRail } from "@hypernode/engine/rewards/payouts/PayoutRail"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { readSettings } from "../../src/solana/Settings.ts"
import { solanaRail } from "../../src/solana/SolanaRail.ts"
import { Crash } from "./crashing.ts"
import { fair } from "./RpcServer.ts"
import { randomOf, stormOf, upTo } from "./storm.ts"
import { type Payee, payee, type World } from "./world.ts"

/** Where answers are meant to fail to come. A loaded machine may be as slow as that too: then there is another life. */
const STORMY = { timeout: 150, pause: 0 }
const PATIENT = { timeout: 10_000, pause: 0 }
/** Far beyond what any schedule takes: a pass ends by being done, or by a crash. */
const PATIENCE = 30_000
/** More than a storm has requests: even if each connection fails, it ends. */
const MOST_LIVES = 100

export const railOf = (world: World, timing = PATIENT) => Effect.flatMap(readSettings(world.home), (settings) => solanaRail(settings!, timing))

/** One life of the process: connect, pay out, and perhaps not come back. */
export const life = (world: World, crash: Crash, plant: (rail: PayoutRail) => Effect.Effect<PayoutRail>, timing = PATIENT) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient
    const outbox = Layer.provide(outboxLayer, Layer.succeed(SqlClient, crash.sql(sql)))
    return yield* Effect.gen(function*() {
      const rail = crash.rail(yield* plant(yield* railOf(world, timing)))
      return yield* payOut(rail, PATIENCE)
    }).pipe(Effect.provide(outbox, { local: true }))
  })

/** Every way in which money would be wrong; none is right. */
export const violations = Effect.fnUntraced(function*(world: World, payees: ReadonlyArray<Payee>) {
  const sql = yield* SqlClient
  const found: Array<string> = []
  for (const { node, owed, wallet } of payees) {
    const held = yield* Effect.promise(() => world.balanceOf(wallet))
    if (held !== owed) found.push(`${wallet} was owed ${owed} and has ${held}`)
    const payouts = yield* sql<{ id: string; state: string; units: string; reference: string }>`
      SELECT p.id, p.state, p.units::text, m.reference FROM payouts p LEFT JOIN payout_payments m ON m.payout = p.id AND m.outcome = 'confirmed' WHERE p.node = ${node} AND p.state <> 'abandoned'`
    for (const { id, reference, state } of payouts) {
      if (state !== "confirmed") found.push(`payout ${id} is ${state}`)
      const landed = world.chain.executed.filter(({ error, memos }) => error === null && memos.includes(`hyper-payout:${id}`))
      if (landed.length !== 1) found.push(`payout ${id} landed ${landed.length} times`)
      else if (landed[0]?.signature !== reference) found.push(`payout ${id} is recorded as ${reference}, and landed as ${landed[0]?.signature}`)
    }
    const [ledger] = yield* sql<{ available: string; paying: string; paid: string }>`SELECT
      COALESCE((SELECT balance FROM ledger_accounts WHERE id = ${availableAccount(node)}), 0)::text AS available,
      COALESCE((SELECT balance FROM ledger_accounts WHERE id = ${payingAccount(node)}), 0)::text AS paying,
      COALESCE((SELECT balance FROM ledger_accounts WHERE id = ${paidAccount(node)}), 0)::text AS paid`
    if (ledger?.available !== "0" || ledger.paying !== "0" || ledger.paid !== owed.toString()) found.push(`the ledger of ${node.slice(0, 8)}: ${JSON.stringify(ledger)}, owed ${owed}`)
  }
  return found
})

export interface Outcome {
  readonly violations: ReadonlyArray<string>
  readonly lives: number
  readonly crashes: number
  readonly requests: number
  readonly payees: number
  readonly signatures: number
}

export const honest = (rail: PayoutRail): Effect.Effect<PayoutRail> => Effect.succeed(rail)

export const schedule = Effect.fnUntraced(function*(world: World, seed: number, plant: (rail: PayoutRail) => Effect.Effect<PayoutRail> = honest) {
  const random = randomOf(seed)
  const payees = yield* Effect.forEach(Array.from({ length: random() < 0.25 ? 2 : 1 }), () => payee(1n + BigInt(Math.floor(random() * 9e11))))
  const requestsBefore = [...world.server.requests.values()].reduce((sum, count) => sum + count, 0)
  world.server.weather = stormOf(random, 12 + upTo(random, 26))
  let crashes = 0
  let lives = 0
  for (let done = false; !done && lives < MOST_LIVES;) {
    const crash = new Crash(crashes < 5 && random() < 0.75 ? 1 + upTo(random, 90) : 0)
    lives++
    const exit = yield* Effect.exit(life(world, crash, plant, STORMY))
    if (Exit.isFailure(exit) && !Cause.hasFails(exit.cause)) {
      if (!Cause.pretty(exit.cause).includes("crash")) return yield* Effect.failCause(exit.cause)
      crashes++
    }
    done = Exit.isSuccess(exit) && exit.value.refused.length === 0 && exit.value.payouts.every(({ state }) => state === "confirmed")
    if (!done) world.chain.advance(upTo(random, random() < 0.3 ? 120 : 15))
  }
  // what is still on its way anywhere (a second copy, a payment given up too early) lands now
  world.server.weather = () => fair
  world.chain.advance(200)
  const sql = yield* SqlClient
  const [count] = yield* sql<{ signatures: number }>`SELECT count(*)::int AS signatures FROM payout_payments m JOIN payouts p ON p.id = m.payout WHERE p.node = ANY(${payees.map(({ node }) => node)})`
  return {
    violations: yield* violations(world, payees),
    lives,
    crashes,
    requests: [...world.server.requests.values()].reduce((sum, each) => sum + each, 0) - requestsBefore,
    signatures: count?.signatures ?? 0,
    payees: payees.length
  } satisfies Outcome
})
