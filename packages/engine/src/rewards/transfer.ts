/** The two writes that every movement of the ledger is made of. Inside the caller's transaction. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export interface Transfer {
  /** done once by it, whatever crashes */
  readonly effectKey: string
  readonly debit: string
  readonly credit: string
  /** base units, more than 0 */
  readonly units: bigint
  readonly memo: string
  readonly runId?: string
  readonly stepId?: string
}

export const openAccount = Effect.fnUntraced(function* (id: string, tenant: string, kind: string) {
  const sql = yield* SqlClient
  yield* sql`INSERT INTO ledger_accounts (id, tenant, kind) VALUES (${id}, ${tenant}, ${kind}) ON CONFLICT DO NOTHING`
})

export const transfer = Effect.fnUntraced(function* ({ credit, debit, effectKey, memo, runId, stepId, units }: Transfer) {
  const sql = yield* SqlClient
  const now = yield* Clock.currentTimeMillis
  yield* sql`
    INSERT INTO ledger_transfers (effect_key, at, debit, credit, units, memo, run_id, step_id)
    VALUES (${effectKey}, ${now}, ${debit}, ${credit}, CAST(${units.toString()}::text AS numeric), ${memo}, CAST(${runId ?? null} AS text), CAST(${stepId ?? null} AS text))
    ON CONFLICT (effect_key) DO NOTHING`
})
