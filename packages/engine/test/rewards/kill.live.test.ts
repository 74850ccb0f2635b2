/** kill -9 at every statement of opening and settling a pool: after another try each effect is there exactly once. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { expect, it } from "vitest"
import { Ledger } from "../../src/rewards/Ledger.ts"
import { layer as ledgerLayer } from "../../src/rewards/SqlLedger.ts"
import { layer as telemetryLayer } from "../../src/telemetry/SqlTelemetryStore.ts"
import { TelemetryStore } from "../../src/telemetry/TelemetryStore.ts"
import { testDatabase } from "../telemetry/database.ts"
import { testNode } from "./batches.ts"

const { home, run } = testDatabase(Layer.mergeAll(telemetryLayer, ledgerLayer))

const child = async (terms: object, at: number, when: string) => {
  const process_ = spawn(process.execPath, [new URL("./killedLedger.ts", import.meta.url).pathname, home(), JSON.stringify(terms), String(at), when], { stdio: ["ignore", "pipe", "inherit"] })
  const chunks: Array<Buffer> = []
  process_.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
  const [, signal] = await once(process_, "close")
  return { signal, output: Buffer.concat(chunks).toString("utf8") }
}

it("opens and settles exactly once, killed anywhere", async () => {
  let n = 0
  const scenario = async () => {
    const id = `killed-${n++}`
    const [a, b] = [testNode(), testNode()]
    const now = Date.now()
    await run(Effect.flatMap(SqlClient, (sql) => sql`INSERT INTO runs (id, tenant, pipeline, created_at, last_seq) VALUES (${id}, 'local', 'p', ${now - 10_000}, 0)`))
    await run(Effect.flatMap(TelemetryStore, (store) => Effect.forEach([a.batch([{ at: now, rank: 0, kind: "work", step: 1, workMilliseconds: 3000 }], id), b.batch([{ at: now, rank: 0, kind: "work", step: 1, workMilliseconds: 1000 }], id)], (batch) => store.append(id, "train", batch))))
    return { id, a, b, terms: { tenant: id, runId: id, stepId: "reward", units: "1000003", policy: "work-v1", challengeWindow: 1000 } }
  }
  const check = async ({ a, b, id, terms }: Awaited<ReturnType<typeof scenario>>) => {
    const full = { ...terms, units: BigInt(terms.units) }
    const settlement = await run(Effect.flatMap(Ledger, (ledger) => Effect.andThen(ledger.openEscrow(full), ledger.settle(full))))
    const entries = await run(Ledger.use((ledger) => ledger.entries(id)))
    expect(entries.map(({ credit, debit, units }) => [debit, credit, units]).sort()).toEqual([
      [`escrow:${id}/reward`, `node:${a.id}:locked`, "750002"],
      [`escrow:${id}/reward`, `node:${b.id}:locked`, "250001"],
      [`owner:${id}`, `escrow:${id}/reward`, "1000003"]
    ].sort())
    expect(settlement).toMatchObject({ accruedUnits: "1000003", returnedUnits: "0" })
    const [row] = await run(Effect.flatMap(SqlClient, (sql) => sql<{ issued: string; total: string; accrued: string }>`SELECT
      (SELECT count(*)::text FROM ledger_transfers WHERE effect_key = ${`issue:${id}`}) AS issued,
      (SELECT sum(balance)::text FROM ledger_accounts) AS total,
      (SELECT sum(units)::text FROM ledger_accruals WHERE run_id = ${id}) AS accrued`))
    expect(row).toEqual({ issued: "1", total: "0", accrued: "1000003" })
  }
  const undisturbed = await scenario()
  const { output } = await child(undisturbed.terms, 0, "before")
  const statements = Number(output)
  expect(statements).toBeGreaterThan(20)
  await check(undisturbed)
  // planted: a payment made twice must be caught by the same check
  const paidTwice = await scenario()
  await check(paidTwice)
  await run(Effect.flatMap(SqlClient, (sql) => sql`INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo, run_id) VALUES (${`twice-${paidTwice.id}`}, 0, 'issuance', ${`node:${paidTwice.a.id}:locked`}, 750002, '', ${paidTwice.id})`))
  await expect(check(paidTwice)).rejects.toThrow()
  for (let at = 1; at <= statements; at++) {
    const disturbed = await scenario()
    const { signal } = await child(disturbed.terms, at, at % 2 === 0 ? "before" : "after")
    expect(signal, `statement ${at}`).toBe("SIGKILL")
    await check(disturbed)
  }
})
