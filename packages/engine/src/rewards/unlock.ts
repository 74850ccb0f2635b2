/** Moves what has outlived its challenge window from locked to available. Inside the caller's transaction. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { availableAccount, lockedAccount } from "./accounts.ts"
import { transfer } from "./transfer.ts"

export const unlock = Effect.gen(function* () {
  const sql = yield* SqlClient
  const now = yield* Clock.currentTimeMillis
  const due = yield* sql<{ run_id: string; step_id: string; node: string; units: string }>`
    SELECT run_id, step_id, node, units::text FROM ledger_accruals WHERE NOT unlocked AND unlocks_at <= ${now} ORDER BY node, run_id, step_id FOR UPDATE`
  for (const { node, run_id: runId, step_id: stepId, units } of due) {
    yield* sql`INSERT INTO ledger_accounts (id, tenant, kind) SELECT ${availableAccount(node)}, tenant, 'available' FROM ledger_accounts WHERE id = ${lockedAccount(node)} ON CONFLICT DO NOTHING`
    yield* transfer({ effectKey: `unlock:${runId}/${stepId}/${node}`, debit: lockedAccount(node), credit: availableAccount(node), units: BigInt(units), memo: "challenge window closed", runId, stepId })
    yield* sql`UPDATE ledger_accruals SET unlocked = true WHERE run_id = ${runId} AND step_id = ${stepId} AND node = ${node}`
  }
})
