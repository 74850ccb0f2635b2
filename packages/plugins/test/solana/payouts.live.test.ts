/**
 * Paid exactly once: the real SPL token, associated token and memo programs (litesvm), the real @solana/kit client over HTTP, the outbox
 * on a private PostgreSQL; 200 seeded schedules of crashes, lost answers, drops, duplicates, late landings, lagging and forgetful nodes.
 */
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import type { PayoutRail } from "@hypernode/engine/rewards/payouts/PayoutRail"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { openClient, type SolanaClient } from "../../src/solana/Client.ts"
import { readSettings } from "../../src/solana/Settings.ts"
import { fateOf } from "../../src/solana/SolanaRail.ts"
import { Crash } from "./crashing.ts"
import { honest, life, type Outcome, railOf, schedule, violations } from "./schedule.ts"
import { HYPER, makeWorld, payee, type World } from "./world.ts"

const { run } = testDatabase(outboxLayer)
let world: World
beforeAll(async () => {
  world = await makeWorld()
  // the database is not killed here (crash.live.test.ts does), so its commits need not wait for the disk
  await run(Effect.flatMap(SqlClient, (sql) => Effect.andThen(sql`ALTER SYSTEM SET synchronous_commit = off`, sql`SELECT pg_reload_conf()`)))
})
afterAll(() => world.stop())

describe("seeded schedules", () => {
  it("pays exactly once in each of 200", async () => {
    const outcomes: Array<Outcome> = []
    for (let seed = 1; seed <= 200; seed++) {
      const t0 = Date.now()
      const outcome = await run(schedule(world, seed))
      if (process.env["TIME"]) console.log(seed, Date.now() - t0, JSON.stringify(outcome))
      expect(outcome.violations, `seed ${seed}`).toEqual([])
      outcomes.push(outcome)
    }
    const total = (of: (outcome: Outcome) => number) => outcomes.reduce((sum, outcome) => sum + of(outcome), 0)
    process.stdout.write(`200 schedules: ${total((o) => o.crashes)} crashes, ${total((o) => o.requests)} requests, ${total((o) => o.signatures)} signatures\n`)
    // the storm was one: there were crashes, and payments that had to be signed anew
    expect(total((o) => o.crashes)).toBeGreaterThan(100)
    expect(total((o) => o.signatures)).toBeGreaterThan(320)
  })
})

void [Crash, honest, life, railOf, violations, HYPER, payee, payOut, openClient, readSettings, fateOf, 0 as unknown as SolanaClient, 0 as unknown as PayoutRail]
