/** What an auditor is given: one epoch a settled pool of the run. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Epoch } from "./Epoch.ts"
import { batchesOf } from "./poolBatches.ts"

interface SettledPool extends Pick<Epoch, "basis" | "policy" | "settlement"> {
  readonly step_id: string
  readonly units: string
  readonly challenge_window: number
  readonly settled_at: number
  readonly last_batch: string
}

export const exportEpochs = Effect.fn("exportEpochs")(function* (runId: string): Effect.fn.Return<ReadonlyArray<Epoch>, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const pools = yield* sql<SettledPool>`
    SELECT step_id, policy, units::text, challenge_window, settled_at, basis, last_batch::text, settlement
    FROM ledger_pools WHERE run_id = ${runId} AND settled_at IS NOT NULL ORDER BY step_id`
  return yield* Effect.forEach(pools, (pool) =>
    Effect.map(batchesOf(runId, pool.last_batch), ({ batches }): Epoch => ({
      format: "hypernode-epoch-v1",
      runId,
      stepId: pool.step_id,
      policy: pool.policy,
      poolUnits: pool.units,
      challengeWindow: pool.challenge_window,
      settledAt: pool.settled_at,
      basis: pool.basis,
      batches,
      settlement: pool.settlement
    })))
})
