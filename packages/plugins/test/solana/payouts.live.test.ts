/**
 * Paid exactly once: the real SPL token, associated token and memo programs (litesvm), the real @solana/kit client over HTTP, the outbox
 * on a private PostgreSQL; crashes, lost answers, drops, duplicates, late landings, lagging and forgetful nodes. More schedules:
 * payouts.soak.ts.
 */
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import type { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import type { PayoutRail } from "@hypernode/engine/rewards/payouts/PayoutRail"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { openClient, type SignatureView } from "../../src/solana/Client.ts"
import { readSettings } from "../../src/solana/Settings.ts"
import { fateOf } from "../../src/solana/SolanaRail.ts"
import { Crash } from "./crashing.ts"
import { fair, type Weather } from "./RpcServer.ts"
import { honest, life, type Outcome, railOf, schedule, violations } from "./schedule.ts"
import { HYPER, makeWorld, payee, type World } from "./world.ts"

const { run } = testDatabase(outboxLayer)
let world: World
beforeAll(async () => {
  world = await makeWorld()
  // the database is not killed here (kill.live.test.ts does that), so its commits need not wait for the disk
  await run(Effect.flatMap(SqlClient, (sql) => Effect.andThen(sql`ALTER SYSTEM SET synchronous_commit = off`, sql`SELECT pg_reload_conf()`)))
})
afterAll(() => world.stop())

describe("seeded schedules", () => {
  it("pays exactly once in each of 200", async () => {
    const outcomes: Array<Outcome> = []
    for (let seed = 1; seed <= 200; seed++) {
      const outcome = await run(schedule(world, seed))
      expect(outcome.violations, `seed ${seed}`).toEqual([])
      outcomes.push(outcome)
    }
    const total = (of: (outcome: Outcome) => number) => outcomes.reduce((sum, outcome) => sum + of(outcome), 0)
    process.stdout.write(`200 schedules: ${total((o) => o.crashes)} crashes, ${total((o) => o.requests)} requests, ${total((o) => o.signatures)} signatures for ${total((o) => o.payees)} payouts\n`)
    // the storm was one: there were crashes, and payments that had to be signed anew
    expect(total((o) => o.crashes)).toBeGreaterThan(100)
    expect(total((o) => o.signatures)).toBeGreaterThan(total((o) => o.payees) + 20)
  })

  const planted: ReadonlyArray<readonly [string, (rail: PayoutRail) => Effect.Effect<PayoutRail>]> = [
    ["signs anew when it has sent a payment and the network does not know it", (rail) => Effect.sync(() => {
      const sent = new Set<string>()
      return {
        ...rail,
        send: (payment) => Effect.andThen(Effect.sync(() => sent.add(payment.reference)), rail.send(payment)),
        fate: (payment) => Effect.map(rail.fate(payment), (fate) => (fate._tag === "Pending" && fate.detail.startsWith("sent, not seen") && sent.has(payment.reference) ? { _tag: "Expired" as const } : fate))
      }
    })],
    ["sends before it stores", (rail) => Effect.succeed({ ...rail, sign: (order) => Effect.tap(rail.sign(order), (payment) => Effect.ignore(rail.send(payment))) })]
  ]
  it.each(planted)("catches an outbox that %s", async (_name, plant) => {
    for (let seed = 1; seed <= 200; seed++) {
      const exit = await run(Effect.exit(schedule(world, seed, plant)))
      if (Exit.isSuccess(exit) && exit.value.violations.some((violation) => /landed [2-9] times/.test(violation))) return
    }
    expect.unreachable("200 schedules did not show it")
  })
})

describe("weather made for one mistake", () => {
  /** The rail with a view of its payments that is wrong in one way. */
  const looking = (wrong: (look: Effect.Effect<SignatureView, PayoutError>) => Effect.Effect<SignatureView, PayoutError>) => (rail: PayoutRail): Effect.Effect<PayoutRail> =>
    Effect.gen(function*() {
      const settings = yield* Effect.orDie(readSettings(world.home))
      const client = yield* openClient(settings!.rpc, 10_000)
      return { ...rail, fate: (payment) => fateOf({ look: (signature) => wrong(client.look(signature)) }, payment) }
    })
  const isLook = (method: string) => method.startsWith("getEpochInfo")
  /** `looks` is how many there were since the payment was first sent; 0 before that. */
  const after = (sent: Partial<Weather>, look: (looks: number) => Partial<Weather>) => () => {
    let sends = 0
    let looks = 0
    world.server.weather = (method) => {
      if (method === "sendTransaction") return { ...fair, ...(sends++ === 0 ? sent : {}) }
      return { ...fair, ...(sends > 0 && isLook(method) ? look(++looks) : {}) }
    }
  }
  it.each<readonly [string, (rail: PayoutRail) => Effect.Effect<PayoutRail>, () => void]>([
    ["takes the height of the newest block for a final one", looking((look) => Effect.map(look, (view) => ({ ...view, finalized: { slot: 0, blockHeight: world.chain.height } }))),
      after({}, (looks) => (looks <= 3 ? { tick: 12, lag: 45 } : {}))],
    ["asks one node for the height and another for the payment", looking((look) => Effect.zipWith(look, look, (one, other) => ({ ...one, finalized: other.finalized, viewSlot: Number.MAX_SAFE_INTEGER }))),
      after({}, (looks) => (looks === 1 ? { tick: 50, lag: 60 } : {}))],
    ["believes a node that has forgotten", looking((look) => Effect.map(look, (view) => ({ ...view, firstSlot: 0 }))),
      after({}, (looks) => (looks <= 3 ? { tick: 50, history: 10 } : {}))],
    ["takes a payment that was only processed for paid", looking((look) => Effect.map(look, (view) => (view.found === undefined ? view : { ...view, found: { ...view.found, commitment: "finalized" as const } }))),
      after({ delivery: [], fork: 20 }, () => ({}))]
  ])("honest: paid once; catches an outbox that %s", async (_name, plant, weather) => {
    const honestly = await run(payee(2n * HYPER))
    weather()
    await run(life(world, new Crash(0), honest))
    world.chain.advance(200)
    expect(await run(violations(world, [honestly]))).toEqual([])
    const wrongly = await run(payee(2n * HYPER))
    weather()
    await run(life(world, new Crash(0), plant))
    world.server.weather = () => fair
    world.chain.advance(200)
    expect(await run(violations(world, [wrongly]))).not.toEqual([])
  })
})

describe("a crash at every point", () => {
  it("pays exactly once, whichever it is", async () => {
    world.server.weather = () => fair
    const undisturbed = new Crash(0)
    const first = [await run(payee(7n * HYPER))]
    await run(life(world, undisturbed, honest))
    expect(await run(violations(world, first))).toEqual([])
    expect(undisturbed.points).toBeGreaterThan(80)
    for (let at = 1; at <= undisturbed.points; at++) {
      const payees = [await run(payee(3n * HYPER + BigInt(at)))]
      const crash = new Crash(at)
      const exit = await run(Effect.exit(life(world, crash, honest)))
      if (Exit.isFailure(exit)) {
        // some time may pass before the next start: the payment lands meanwhile, or can land no more
        world.chain.advance(at % 3 === 0 ? 60 : at % 3)
        await run(life(world, new Crash(0), honest))
      }
      expect(await run(violations(world, payees)), `point ${at}`).toEqual([])
    }
  })
  it("signs once when the answer to a sent payment is lost, and sends the same bytes again", async () => {
    const one = await run(payee(5n * HYPER))
    let sends = 0
    world.server.weather = (method) => (method === "sendTransaction" && ++sends < 4 ? { ...fair, answer: sends === 2 ? "hangs" : "broken", delivery: sends === 3 ? [1] : [] } : fair)
    const report = await run(life(world, new Crash(0), honest, { timeout: 1_000, pause: 0 }))
    expect(report.payouts.filter(({ node }) => node === one.node)).toMatchObject([{ state: "confirmed", signatures: 1 }])
    expect(sends).toBeGreaterThanOrEqual(3)
    expect(await run(violations(world, [one]))).toEqual([])
  })
  it("pays once when two processes pay out at the same time", async () => {
    // many ask at once here: a block a request would expire every payment
    let requests = 0
    world.server.weather = () => ({ ...fair, tick: ++requests % 5 === 0 ? 1 : 0 })
    const payees = await Promise.all([1, 2, 3].map((n) => run(payee(BigInt(n) * HYPER))))
    const passes = await Promise.all([1, 2, 3, 4].map(() => run(Effect.flatMap(railOf(world), (rail) => payOut(rail, 20_000)))))
    expect(passes.flatMap(({ refused }) => refused)).toEqual([])
    expect(await run(violations(world, payees))).toEqual([])
  })
})
