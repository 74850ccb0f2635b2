import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { beforeEach, describe, expect, it } from "vitest"
import { canonicalJson } from "../../src/artifact/canonicalJson.ts"
import { audit } from "../../src/rewards/audit.ts"
import { exportEpochs } from "../../src/rewards/exportEpoch.ts"
import { Ledger, type PoolTerms } from "../../src/rewards/Ledger.ts"
import { layer as ledgerLayer } from "../../src/rewards/SqlLedger.ts"
import { layer as telemetryLayer } from "../../src/telemetry/SqlTelemetryStore.ts"
import { TelemetryStore } from "../../src/telemetry/TelemetryStore.ts"
import type { Sample } from "../../src/telemetry/Sample.ts"
import { databases, testDatabase } from "../telemetry/database.ts"
import { START, testNode, type TestNode, work } from "./batches.ts"

describe.each(databases)("on the %s database", (which) => {
  const { run } = testDatabase(Layer.mergeAll(telemetryLayer, ledgerLayer), which)
  const HYPER = 10n ** 9n
  let n = 0
  let terms: PoolTerms
  let job = ""
  let base = 0
  beforeEach(() => {
    n++
    base = Date.now() + 5_000
    job = `job-${n}`
    terms = { tenant: `tenant-${n}`, runId: `run-${n}`, stepId: "reward", units: 100n * HYPER, policy: "work-v1", challengeWindow: 86_400_000 }
  })

  const ledger = <A, E>(use: (service: Ledger["Service"]) => Effect.Effect<A, E>) => run(Ledger.use(use))
  const open = (more: Partial<PoolTerms> = {}) => ledger((l) => l.openEscrow({ ...terms, ...more }))
  const settle = (more: Partial<PoolTerms> = {}) => ledger((l) => l.settle({ ...terms, ...more }))
  const explain = (node?: string) => ledger((l) => l.explain(terms.runId, node))
  const entries = () => ledger((l) => l.entries(terms.runId))
  const balancesOf = async (tenant = terms.tenant) => Object.fromEntries((await ledger((l) => l.balances(tenant))).map(({ account, units }) => [account, BigInt(units)]))
  const sqlText = (text: string, parameters: ReadonlyArray<unknown> = []) => run(Effect.flatMap(SqlClient, (sql) => sql.unsafe<Record<string, string>>(text, parameters)))
  /** samples are dated from a little after now on, so that all of their work lies after the pool's opening */
  const at = (sample: Sample): Sample => ({ ...sample, at: sample.at - START + base })
  const report = (node: TestNode, ...samples: ReadonlyArray<Sample>) => run(TelemetryStore.use((store) => store.append(terms.runId, "train", node.batch(samples.map(at), job))))
  const nodeBalance = async (node: TestNode, kind: "locked" | "available", tenant = terms.tenant) => (await balancesOf(tenant))[`node:${node.id}:${kind}`] ?? 0n
  const conserved = async () => {
    const [row] = await sqlText("SELECT sum(balance)::text AS total, bool_and(balance = COALESCE((SELECT sum(units) FROM ledger_transfers t WHERE t.credit = a.id), 0) - COALESCE((SELECT sum(units) FROM ledger_transfers t WHERE t.debit = a.id), 0))::text AS derived FROM ledger_accounts a")
    expect(row).toEqual({ total: "0", derived: "true" })
  }

  describe("escrow", () => {
    it("issues a tenant its first balance, under an honest name, and moves the pool", async () => {
      await open()
      await open()
      expect(await balancesOf()).toEqual({ [`owner:${terms.tenant}`]: 999_900n * HYPER, [`escrow:${terms.runId}/reward`]: 100n * HYPER })
      const [issue] = await sqlText("SELECT memo, debit FROM ledger_transfers WHERE effect_key = $1", [`issue:${terms.tenant}`])
      expect(issue).toEqual({ memo: "local test issuance: not money", debit: "issuance" })
      expect(await entries()).toHaveLength(1)
      await conserved()
    })
    it("opens one pool when many ask at once", async () => {
      await Promise.all(Array.from({ length: 8 }, () => open()))
      expect(await entries()).toHaveLength(1)
    })
    it("refuses what there is not, an unknown policy, an empty pool, and other terms for an open pool", async () => {
      await expect(open({ units: 1_000_001n * HYPER })).rejects.toMatchObject({ message: expect.stringContaining("has 1,000,000 HYPER"), remedy: expect.stringContaining("Lower the pool") })
      await expect(open({ policy: "work-v9" })).rejects.toMatchObject({ remedy: expect.stringContaining("work-v1") })
      await expect(open({ units: 0n })).rejects.toMatchObject({ message: expect.stringContaining("0 HYPER") })
      expect(await entries()).toEqual([])
      await open()
      await expect(open({ units: 1n })).rejects.toMatchObject({ message: expect.stringContaining("cannot become") })
    })
  })

  describe("settle", () => {
    it("shares the pool by verified work, locked until the challenge window closes", async () => {
      const [a, b] = [testNode(), testNode()]
      await open()
      await report(a, work(3, 3000))
      await report(b, work(3, 1000))
      await report(a, work(6, 3000))
      const before = Date.now()
      const settlement = await settle()
      expect(settlement).toMatchObject({ pool: "100 HYPER", accruedUnits: String(100n * HYPER), returnedUnits: "0", policy: "work-v1" })
      expect(Object.fromEntries(settlement.accruals.map(({ node, units }) => [node, BigInt(units)]))).toEqual({ [a.id]: 85_714_285_714n, [b.id]: 14_285_714_286n })
      expect(settlement.unlocksAt - before).toBeGreaterThanOrEqual(86_400_000)
      expect(await nodeBalance(a, "locked")).toBe(85_714_285_714n)
      expect(await balancesOf()).toMatchObject({ [`escrow:${terms.runId}/reward`]: 0n })
      await conserved()
      // a second pool of the same run, whose window closes at once
      await settle({ stepId: "second", challengeWindow: 0 })
      expect([await nodeBalance(a, "available"), await nodeBalance(a, "locked")]).toEqual([85_714_285_714n, 85_714_285_714n])
      await Promise.all([nodeBalance(a, "available"), nodeBalance(b, "available")])
      expect([await nodeBalance(a, "available"), await nodeBalance(a, "locked")]).toEqual([85_714_285_714n, 85_714_285_714n])
      await conserved()
    })
    it("settles once, however often and however many at once", async () => {
      const node = testNode()
      await open()
      await report(node, work(2, 1000))
      const all = await Promise.all(Array.from({ length: 8 }, () => settle()))
      expect(new Set(all.map((settlement) => canonicalJson(settlement))).size).toBe(1)
      expect(await entries()).toHaveLength(2)
      expect(await nodeBalance(node, "locked")).toBe(100n * HYPER)
    })
    it("shows a registered node's account to its owner, and to no other tenant", async () => {
      const node = testNode()
      await sqlText("INSERT INTO node_identities (id, public_key, name, transport, tenant, created_at) VALUES ($1, $1, 'n', 'local', 'local', 0)", [node.id])
      await open()
      await report(node, work(2, 1000))
      await settle({ challengeWindow: 86_400_000 })
      expect([await nodeBalance(node, "locked"), await nodeBalance(node, "locked", "local")]).toEqual([0n, 100n * HYPER])
    })
    it("returns a pool without work to its owner", async () => {
      await open()
      expect(await settle()).toMatchObject({ accruedUnits: "0", returnedUnits: String(100n * HYPER), accruals: [] })
      expect(await balancesOf()).toEqual({ [`owner:${terms.tenant}`]: 1_000_000n * HYPER, [`escrow:${terms.runId}/reward`]: 0n })
      await conserved()
    })
    it("settles a pool that was never opened, by the time at which the run began", async () => {
      const node = testNode()
      await sqlText("INSERT INTO runs (id, tenant, pipeline, created_at, last_seq) VALUES ($1, 'local', 'p', $2, 0)", [terms.runId, Date.now() - 60_000])
      await run(TelemetryStore.use((store) => store.append(terms.runId, "train", node.batch([{ ...work(0, 5000), at: Date.now() - 1000 }], job))))
      expect((await settle()).accruals).toMatchObject([{ units: String(100n * HYPER), workMilliseconds: 5000 }])
    })
    it("applies exclusions and device classes, and keeps them for the auditor", async () => {
      const [a, b] = [testNode(), testNode()]
      await open()
      await report(a, work(2, 1000))
      await report(b, work(2, 1000))
      const exclusion = { node: b.id, reason: "the endpoint did not answer", remedy: "Restart it." }
      const { accruals } = await settle({ exclusions: [exclusion], deviceClasses: { [job]: "NVIDIA H200" } })
      expect(accruals.find(({ node }) => node === b.id)).toMatchObject({ units: "0", reason: expect.stringContaining("the endpoint did not answer") })
      expect((await explain(a.id))[0]?.sentence).toBe("You earned 100 of 100 HYPER: 1 of 1 verified GPU seconds")
      expect((await explain(b.id))[0]).toMatchObject({ sentence: expect.stringContaining("Restart it."), samples: { accepted: 0, rejected: [{ reason: exclusion.reason, remedy: exclusion.remedy, count: 1 }] } })
    })
  })

  describe("explain", () => {
    it("gives the sentence, the formula's numbers, and what did not count", async () => {
      const [a, b] = [testNode(), testNode()]
      await open({ policy: "hypernode-v1" })
      await report(a, work(3, 3000), work(3, 3000))
      await report(b, work(3, 1000))
      expect((await explain(a.id))[0]?.sentence).toMatch(/^Not settled yet\. As things stand you earn/)
      const settlement = await settle({ policy: "hypernode-v1", deviceClasses: { [job]: "cpu" } })
      await report(b, work(5, 1000))
      const explanations = await explain()
      expect(explanations).toHaveLength(2)
      const mine = explanations.find(({ node }) => node === a.id)!
      expect(mine.sentence).toMatch(/^You earned \d+(\.\d{1,3})? of 100 HYPER: 3 of 4 verified CPU seconds$/)
      expect(mine.terms.map(({ name, weight }) => [name, weight])).toEqual([["GPU time", 0.5], ["throughput", 0.25], ["uptime", 0.15], ["latency", 0.1]])
      expect(mine.terms.reduce((sum, { units }) => sum + BigInt(units), 0n).toString()).toBe(settlement.accruals.find(({ node }) => node === a.id)?.units)
      expect(mine.samples).toMatchObject({ accepted: 1, rejected: [{ reason: "claims more device time than passed", count: 1 }] })
      expect(mine).toMatchObject({ batches: [expect.stringMatching(/^sha256:/)], unlocksAt: settlement.unlocksAt })
      expect(explanations.find(({ node }) => node === b.id)?.samples.rejected).toMatchObject([{ reason: "arrived after the pool was settled", count: 1 }])
      expect(await explain("nobody")).toEqual([])
    })
  })

  describe("the database itself", () => {
    beforeEach(async () => {
      await open()
    })
    const refused: ReadonlyArray<readonly [string, string]> = [
      ["a changed transfer", "UPDATE ledger_transfers SET units = units + 1"],
      ["a deleted transfer", "DELETE FROM ledger_transfers"],
      ["a truncated ledger", "TRUNCATE ledger_transfers"],
      ["a balance from nowhere", "UPDATE ledger_accounts SET balance = balance + 1"],
      ["an account born rich", "INSERT INTO ledger_accounts (id, tenant, kind, balance) VALUES ('x', 'x', 'owner', 5)"],
      ["a deleted account", "DELETE FROM ledger_accounts"],
      ["an owner below zero", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT 'x', 0, id, 'issuance', 2000000::numeric * 1000000000, '' FROM ledger_accounts WHERE kind = 'owner' LIMIT 1"],
      ["an escrow below zero", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT 'x', 0, id, 'issuance', 200::numeric * 1000000000, '' FROM ledger_accounts WHERE kind = 'escrow' AND balance > 0 LIMIT 1"],
      ["a transfer of nothing", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT 'x', 0, 'issuance', id, 0, '' FROM ledger_accounts WHERE kind = 'owner' LIMIT 1"],
      ["a transfer to itself", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) VALUES ('x', 0, 'issuance', 'issuance', 1, '')"],
      ["a transfer to nobody", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) VALUES ('x', 0, 'issuance', 'nobody', 1, '')"],
      ["an effect done twice", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT effect_key, 0, debit, credit, units, '' FROM ledger_transfers LIMIT 1"],
      ["a pool settled with units left in escrow", "UPDATE ledger_pools SET settled_at = 0, settlement = '{}', basis = '{}', last_batch = 0 WHERE settled_at IS NULL"],
      ["an escrow emptied behind its pool's back", "INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) SELECT 'x', 0, escrow, 'issuance', 1, '' FROM ledger_pools WHERE settled_at IS NULL LIMIT 1"],
      ["a pool that claims more than its escrow", "UPDATE ledger_pools SET units = units + 1 WHERE settled_at IS NULL"]
    ]
    it.each(refused)("refuses %s", async (_name, statement) => {
      await expect(sqlText(statement)).rejects.toThrow()
      await conserved()
    })
    it("refuses balances that do not add up, even from somebody who switches the triggers off: the check can fail", async () => {
      const planted = run(Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`ALTER TABLE ledger_accounts DISABLE TRIGGER guard`
          yield* sql`UPDATE ledger_accounts SET balance = balance + 7 WHERE id = ${`owner:${terms.tenant}`}`
          yield* sql`INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo) VALUES (${`planted-${n}`}, 0, 'issuance', ${`owner:${terms.tenant}`}, 1, '')`
        }))
      }))
      await expect(planted).rejects.toThrow()
      await conserved()
    })
  })

  describe("audit", () => {
    const settledEpoch = async () => {
      const [a, b] = [testNode(), testNode()]
      await open({ policy: "hypernode-v1" })
      await report(a, work(3, 2500))
      await report(b, work(3, 700), work(5, 1200))
      await settle({ policy: "hypernode-v1", deviceClasses: { [job]: "cpu" } })
      await report(a, work(9, 2000)) // late: no part of the epoch
      const [epoch] = await run(exportEpochs(terms.runId))
      return JSON.parse(JSON.stringify(epoch)) as any
    }
    it("recomputes an epoch from its export alone, whatever the order", async () => {
      const epoch = await settledEpoch()
      expect(audit(epoch)).toMatchObject({ agrees: true, findings: [] })
      expect(audit({ ...epoch, batches: [...epoch.batches, ...epoch.batches].reverse() })).toMatchObject({ agrees: true })
    })
    it("finds every change", async () => {
      const epoch = await settledEpoch()
      const changed = (change: (copy: any) => void) => {
        const copy = structuredClone(epoch)
        change(copy)
        return audit(copy)
      }
      const planted: ReadonlyArray<readonly [(copy: any) => void, RegExp]> = [
        [(e) => (e.settlement.accruals[0].units = String(BigInt(e.settlement.accruals[0].units) + 1n)), /units: settled \d+, recomputed \d+/],
        [(e) => (e.batches[0].batch.samples[0].workMilliseconds = 9999), /units|workMilliseconds/],
        [(e) => e.batches.pop(), /recomputed/],
        [(e) => (e.policy = "work-v1"), /policy: settled hypernode-v1, recomputed work-v1/],
        [(e) => (e.poolUnits = "1"), /poolUnits/],
        [(e) => (e.settledAt -= 1), /unlocksAt/],
        [(e) => e.settlement.accruals.push({ node: "friend", units: "5", workMilliseconds: 1, reason: "" }), /node friend: settled 1 times, recomputed 0 times/],
        [(e) => (e.basis.exclusions = [{ node: e.settlement.accruals[0].node, reason: "x", remedy: "y" }]), /recomputed/],
        [(e) => (e.policy = "none"), /not known/],
        [(e) => delete e.batches, /not an epoch export/]
      ]
      for (const [change, finding] of planted) expect(changed(change)).toMatchObject({ agrees: false, findings: expect.arrayContaining([expect.stringMatching(finding)]) })
      expect(audit(null).agrees).toBe(false)
    })
  })
})
