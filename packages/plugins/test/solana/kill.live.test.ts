/** kill -9 of a process that pays out: at points of the outbox, and in the moment in which the network has taken the payment. Paid once. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import { afterAll, beforeAll, expect, it } from "vitest"
import { testDatabase } from "../../../engine/test/telemetry/database.ts"
import { Crash } from "./crashing.ts"
import { fair } from "./RpcServer.ts"
import { honest, life, violations } from "./schedule.ts"
import { HYPER, makeWorld, payee, type World } from "./world.ts"

const { home, run } = testDatabase(outboxLayer)
let world: World
beforeAll(async () => {
  world = await makeWorld("kill")
  world.server.weather = () => fair
})
afterAll(() => world.stop())

const child = (at: number) => spawn(process.execPath, [new URL("./killedPayOut.ts", import.meta.url).pathname, home(), world.home, String(at)], { stdio: ["ignore", "inherit", "inherit"] })

it("pays once, killed anywhere", async () => {
  const undisturbed = new Crash(0)
  const first = await run(payee(HYPER))
  await run(life(world, undisturbed, honest))
  expect(await run(violations(world, [first]))).toEqual([])
  for (const share of [0.3, 0.45, 0.6, 0.75, 0.95]) {
    const one = await run(payee(2n * HYPER))
    const at = Math.floor(undisturbed.points * share)
    const [, signal] = await once(child(at), "close")
    expect(signal, `point ${at}`).toBe("SIGKILL")
    await run(life(world, new Crash(0), honest))
    expect(await run(violations(world, [one])), `point ${at}`).toEqual([])
  }
})
it("pays once, killed when the network has taken the payment and the answer is not there yet", async () => {
  const one = await run(payee(3n * HYPER))
  world.server.weather = (method) => (method === "sendTransaction" ? { ...fair, answer: "hangs", delivery: [2] } : fair)
  const process_ = child(0)
  world.server.served = (method) => { if (method === "sendTransaction") process_.kill("SIGKILL") }
  const [, signal] = await once(process_, "close")
  expect(signal).toBe("SIGKILL")
  world.server.served = () => {}
  world.server.weather = () => fair
  world.chain.advance(60)
  const before = world.server.requests.get("sendTransaction")
  const report = await run(life(world, new Crash(0), honest))
  expect(report.payouts.find(({ node }) => node === one.node)).toMatchObject({ state: "confirmed", signatures: 1 })
  // it was asked after before anything was sent again
  expect(world.server.requests.get("sendTransaction")).toBe(before)
  expect(await run(violations(world, [one]))).toEqual([])
})
