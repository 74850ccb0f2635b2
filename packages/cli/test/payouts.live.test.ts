/** `hyper rewards payout` and its siblings against a real daemon, and the real token programs behind a local RPC node. */
import { cpSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { homeAt } from "@hypernode/engine/Home"
import * as Effect from "effect/Effect"
import { afterEach, beforeEach, expect, it } from "vitest"
import { databaseAt } from "../../engine/test/store/databases.ts"
import { fair } from "../../plugins/test/solana/RpcServer.ts"
import { due, HYPER, makeWorld, newKey, type World } from "../../plugins/test/solana/world.ts"
import type { AddressView, PayoutReportView, PayoutsView } from "../src/client/payoutViews.ts"
import { createKeyPairSignerFromBytes } from "@solana/kit"
import { Hyper } from "./Hyper.ts"

let hyper: Hyper
let world: World
beforeEach(async () => {
  hyper = new Hyper()
  world = await makeWorld("command line")
  world.server.weather = () => ({ ...fair, tick: 5 })
})
afterEach(async () => {
  await world.stop()
  expect(await hyper.close()).toEqual([])
})

it("registers a wallet, rehearses, pays once, tells, and pays unattended after the daemon was killed", async () => {
  const json = async <A>(...args: ReadonlyArray<string>) => JSON.parse((await hyper.run(...args, "--json")).stdout) as A
  const wallet = (await createKeyPairSignerFromBytes(newKey())).address

  expect((await hyper.run("rewards", "payouts")).stdout).toContain("pays nothing on Solana")
  const unset = await hyper.run("rewards", "payout")
  expect([unset.code, unset.stderr]).toEqual([4, expect.stringMatching(/no solana\.json[^]*chmod 600[^]*"perDay"/)])
  expect((await hyper.run("rewards", "address", "this", "0OIl")).stderr).toMatch(/not a Solana address/)
  expect((await hyper.run("rewards", "address", "AAAAAAAA", wallet)).stderr).toMatch(/is not the node of this machine/)
  const { node } = await json<AddressView>("rewards", "address", "this", wallet)
  expect((await hyper.run("rewards", "address", node.slice(0, 8), wallet)).stdout).toContain(`is paid to ${wallet} (statement 1`)

  for (const file of ["solana.json", "payer.json"]) cpSync(join(world.home, file), join(hyper.root, file))
  const give = (units: bigint) => Effect.runPromise(Effect.provide(due(node, units), databaseAt(homeAt(hyper.root, join(hyper.home, "c")))))
  await give(12n * HYPER)
  const rehearsed = await hyper.run("rewards", "payout", "--dry-run")
  expect([rehearsed.code, rehearsed.stdout]).toEqual([0, expect.stringContaining(`would pay 12 HYPER to ${wallet}, whose token account is made`)])
  expect(world.server.requests.get("sendTransaction")).toBeUndefined()
  const paid = await json<PayoutReportView>("rewards", "payout")
  expect(paid).toMatchObject({ payouts: [{ node, address: wallet, units: String(12n * HYPER), state: "confirmed" }], refused: [] })
  expect(await world.balanceOf(wallet)).toBe(12n * HYPER)
  expect((await hyper.run("rewards", "payout")).stdout).toContain("Nothing is due")
  const id = paid.payouts[0]?.id ?? ""
  expect((await hyper.run("rewards", "payouts")).stdout).toContain(`${id}  confirmed`)
  expect((await hyper.run("rewards")).stdout).toMatch(/12\.000 HYPER {2}node:.*:paid/)
  expect((await hyper.run("rewards", "payouts", "abandon", id)).code).toBe(4)
  expect((await hyper.run("rewards", "payouts", "abandon", "none")).code).toBe(5)

  await give(5n * HYPER)
  process.kill(hyper.daemonPid() as number, "SIGKILL")
  let last: PayoutsView
  do {
    await sleep(300)
    last = await json<PayoutsView>("rewards", "payouts")
  } while (last.payouts.length < 2 || last.payouts.some(({ state }) => state !== "confirmed"))
  expect(await world.balanceOf(wallet)).toBe(17n * HYPER)
  expect(world.chain.executed.filter(({ memos }) => memos.length > 0)).toHaveLength(2)
  expect(readFileSync(join(hyper.root, "daemon.log"), "utf8")).not.toContain("SECRET-KEY")
})
