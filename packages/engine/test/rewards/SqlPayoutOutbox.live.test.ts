/** The outbox without a chain: its states, its ledger, and what the database itself refuses. With the real chain programs: plugins/test/solana. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { beforeEach, describe, expect, it } from "vitest"
import { Ledger } from "../../src/rewards/Ledger.ts"
import { PayoutOutbox } from "../../src/rewards/payouts/PayoutOutbox.ts"
import { layer as outboxLayer } from "../../src/rewards/payouts/SqlPayoutOutbox.ts"
import { layer as ledgerLayer } from "../../src/rewards/SqlLedger.ts"
import { nodeIdOf } from "../../src/telemetry/batch.ts"
import { layer as telemetryLayer } from "../../src/telemetry/SqlTelemetryStore.ts"
import { TelemetryStore } from "../../src/telemetry/TelemetryStore.ts"
import { databases, testDatabase } from "../telemetry/database.ts"
import { testNode, work } from "./batches.ts"

const limits = { perPayout: 10n ** 30n, perDay: 10n ** 30n }

describe.each(databases)("on the %s database", (which) => {
  const { run } = testDatabase(Layer.mergeAll(telemetryLayer, ledgerLayer, outboxLayer), which)
  const outbox = <A, E>(use: (service: PayoutOutbox["Service"]) => Effect.Effect<A, E>) => run(PayoutOutbox.use(use))
  const sqlText = (text: string, parameters: ReadonlyArray<unknown> = []) => run(Effect.flatMap(SqlClient, (sql) => sql.unsafe<Record<string, string>>(text, parameters)))
  let n = 0
  let rail = ""
  let node = ""
  let key: KeyObject
  let tenant = ""
  const signer = (bytes: Uint8Array) => Effect.succeed(sign(null, bytes, key).toString("base64"))
  const register = (address = "wallet-1") => outbox((o) => o.register(node, rail, address, signer))
  const give = (units: bigint) => sqlText(`WITH a AS (INSERT INTO ledger_accounts (id, tenant, kind) VALUES ($1, $2, 'available') ON CONFLICT DO NOTHING) SELECT 1`, [`node:${node}:available`, tenant]).then(() =>
    sqlText("INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) VALUES ($1, 0, 'issuance', $2, $3::text::numeric, '')", [`give-${n}-${Math.random()}`, `node:${node}:available`, units.toString()]))
  const prepare = (more: object = {}) => outbox((o) => o.prepare({ node, rail, network: "net", token: "mint", limits, ...more }))
  const payment = (reference: string) => ({ reference, bytes: "bytes", expiry: "{}" })
  const balances = async () => Object.fromEntries((await sqlText("SELECT id, balance::text AS units FROM ledger_accounts WHERE id LIKE $1", [`node:${node}:%`])).map(({ id, units }) => [id!.split(":").at(-1), BigInt(units!)]))
  beforeEach(() => {
    n++
    rail = `rail-${n}`
    tenant = `tenant-${n}`
    key = generateKeyPairSync("ed25519").privateKey
    node = nodeIdOf(key)
  })

  it("holds what is available, finalises it when it landed, and finds nothing further to pay", async () => {
    await register()
    await give(70n)
    expect(await outbox((o) => o.due(rail))).toEqual([{ node, address: "wallet-1", units: 70n }])
    const payout = (await prepare())!
    expect(payout).toMatchObject({ units: 70n, state: "prepared", address: "wallet-1", signatures: 0 })
    expect(await balances()).toEqual({ available: 0n, paying: 70n })
    await give(5n)
    expect(await outbox((o) => o.due(rail))).toEqual([])
    expect(await prepare()).toBeUndefined()
    await outbox((o) => o.recordSigned(payout.id, payment(`a-${n}`)))
    await outbox((o) => o.recordSigned(payout.id, payment(`b-${n}`)))
    expect(await outbox((o) => o.get(payout.id))).toMatchObject({ state: "signed", signatures: 1, payment: payment(`a-${n}`) })
    await outbox((o) => o.recordFate(payout.id, `other-${n}`, { _tag: "Landed" }))
    await outbox((o) => o.recordFate(payout.id, `a-${n}`, { _tag: "Expired" }))
    expect(await outbox((o) => o.get(payout.id))).toMatchObject({ state: "prepared" })
    await outbox((o) => o.recordSigned(payout.id, payment(`c-${n}`)))
    for (let i = 0; i < 3; i++) await outbox((o) => o.recordFate(payout.id, `c-${n}`, { _tag: "Landed" }))
    expect(await outbox((o) => o.get(payout.id))).toMatchObject({ state: "confirmed", signatures: 2 })
    expect(await balances()).toEqual({ available: 5n, paying: 0n, paid: 70n })
    expect(await prepare()).toMatchObject({ units: 5n })
  })
  it("prepares one payout when many ask at once, and signs one payment", async () => {
    await register()
    await give(9n)
    const prepared = (await Promise.all(Array.from({ length: 8 }, () => prepare()))).filter((one) => one !== undefined)
    expect(prepared).toHaveLength(1)
    await Promise.all(Array.from({ length: 8 }, (_, i) => outbox((o) => o.recordSigned(prepared[0]!.id, payment(`${i}-${n}`)))))
    expect(await outbox((o) => o.get(prepared[0]!.id))).toMatchObject({ state: "signed", signatures: 1 })
  })
  it("registers a wallet by statements that count up, and the same one once", async () => {
    expect((await Promise.all(Array.from({ length: 4 }, () => register()))).map(({ sequence }) => sequence)).toEqual([1, 1, 1, 1])
    expect(await register("wallet-2")).toMatchObject({ sequence: 2 })
    expect(await register("wallet-1")).toMatchObject({ sequence: 3 })
    expect((await outbox((o) => o.addresses)).filter((one) => one.node === node)).toMatchObject([{ address: "wallet-1", sequence: 3 }])
  })
  it("keeps to limits, counting what is on its way but not what was given back", async () => {
    await register()
    await give(60n)
    await expect(prepare({ limits: { perPayout: 59n, perDay: 1000n } })).rejects.toMatchObject({ reason: "Refused", remedy: expect.stringContaining("perPayout") })
    const first = (await prepare({ limits: { perPayout: 60n, perDay: 60n } }))!
    await outbox((o) => o.abandon(first.id))
    expect(await balances()).toEqual({ available: 60n, paying: 0n })
    await prepare({ limits: { perPayout: 60n, perDay: 60n } })
    key = generateKeyPairSync("ed25519").privateKey
    node = nodeIdOf(key)
    await register()
    await give(1n)
    await expect(prepare({ limits: { perPayout: 60n, perDay: 60n } })).rejects.toMatchObject({ reason: "Refused", remedy: expect.stringContaining("perDay") })
    expect(await balances()).toEqual({ available: 1n })
  })
  it("pays what outlived its challenge window, and not what is locked", async () => {
    const worker = testNode()
    const terms = { tenant, runId: `payout-run-${n}`, stepId: "reward", units: 100n, policy: "work-v1", challengeWindow: 0 }
    await run(Effect.gen(function*() {
      const ledger = yield* Ledger
      yield* ledger.openEscrow(terms)
      const telemetry = yield* TelemetryStore
      yield* telemetry.append(terms.runId, "train", worker.batch([{ ...work(1, 1000), at: Date.now() + 5_000 }], `payout-job-${n}`))
      yield* ledger.settle(terms)
      yield* ledger.settle({ ...terms, stepId: "later", challengeWindow: 86_400_000 })
    }))
    node = worker.id
    await sqlText("INSERT INTO payout_addresses (node, rail, sequence, address, signature, at) VALUES ($1, $2, 1, 'thief', 'AAAA', 0)", [node, rail])
    expect(await outbox((o) => o.due(rail))).toEqual([])
    expect(await balances()).toEqual({ locked: 100n, available: 100n })
  })

  describe("the database itself", () => {
    let id = ""
    beforeEach(async () => {
      await register()
      await give(40n)
      id = (await prepare())!.id
      await outbox((o) => o.recordSigned(id, payment(`first-${n}`)))
    })
    it.each<readonly [string, string]>([
      ["a second payment while the first may land", "INSERT INTO payout_payments (payout, number, reference, bytes, expiry, signed_at) VALUES ($1, 2, 'second', 'x', '{}', 0)"],
      ["a second payout of the same node while one is open", "INSERT INTO payouts (id, effect_key, tenant, node, rail, network, token, address, units, account, created_at, updated_at) SELECT 'twice' || id, 'twice' || id, tenant, node, rail, network, token, address, units, account, 0, 0 FROM payouts WHERE id = $1"],
      ["another amount", "UPDATE payouts SET units = units + 1 WHERE id = $1"],
      ["another address", "UPDATE payouts SET address = 'thief' WHERE id = $1"],
      ["other bytes", "UPDATE payout_payments SET bytes = 'other' WHERE payout = $1"],
      ["a confirmation without a confirmed payment", "UPDATE payouts SET state = 'confirmed' WHERE id = $1"],
      ["signing anew without an end of the payment", "UPDATE payouts SET state = 'prepared' WHERE id = $1"],
      ["abandoning while a payment may land", "UPDATE payouts SET state = 'abandoned' WHERE id = $1"],
      ["a held balance that goes elsewhere", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT 'steal' || id, 0, account, 'issuance', 1, '' FROM payouts WHERE id = $1"],
      ["a payment that never was", "DELETE FROM payout_payments WHERE payout = $1"],
      ["a payout that never was", "DELETE FROM payouts WHERE id = $1"],
      ["a changed wallet", "UPDATE payout_addresses SET address = 'thief' WHERE node = (SELECT node FROM payouts WHERE id = $1)"]
    ])("refuses %s", async (_name, statement) => {
      await expect(sqlText(statement, [id])).rejects.toThrow()
      expect(await balances()).toEqual({ available: 0n, paying: 40n })
    })
    it("refuses an end that was already told", async () => {
      await outbox((o) => o.recordFate(id, `first-${n}`, { _tag: "Landed" }))
      await expect(sqlText("UPDATE payout_payments SET outcome = 'expired' WHERE payout = $1", [id])).rejects.toThrow()
      await expect(sqlText("UPDATE payouts SET state = 'prepared' WHERE id = $1", [id])).rejects.toThrow()
    })
  })
})
