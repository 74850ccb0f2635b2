/** Thousands of further schedules, each as in payouts.live.test.ts; `HYPER_SOAK_SEEDS` says how many (default 2,000). */
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import { afterAll, beforeAll, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { schedule } from "./schedule.ts"
import { makeWorld, type World } from "./world.ts"

const { run } = testDatabase(outboxLayer)
let world: World
beforeAll(async () => { world = await makeWorld("soak") })
afterAll(() => world.stop())

it("pays exactly once in each", async () => {
  const seeds = Number(process.env["HYPER_SOAK_SEEDS"] ?? 2_000)
  for (let seed = 1_001; seed <= 1_000 + seeds; seed++) expect((await run(schedule(world, seed))).violations, `seed ${seed}`).toEqual([])
})
