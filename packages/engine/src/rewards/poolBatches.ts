/** The telemetry behind a pool, as the store keeps it. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { SignedBatch } from "../telemetry/Sample.ts"
import { faultReasons, type ReceivedBatch, type Rejection } from "./Evidence.ts"

/** All batches of a run, or those up to `last` (an id); `last` of the answer is the highest id, `"0"` where there is none. */
export const batchesOf = Effect.fnUntraced(function* (runId: string, last?: string): Effect.fn.Return<{ readonly batches: ReadonlyArray<ReceivedBatch>; readonly last: string }, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const rows = yield* sql<{ id: string; batch: SignedBatch; received_at: number }>`
    SELECT id::text, batch, received_at FROM telemetry_batches
    WHERE run_id = ${runId} AND (${last === undefined} OR telemetry_batches.id <= CAST(${last ?? "0"}::text AS bigint)) ORDER BY telemetry_batches.id`
  return { batches: rows.map(({ batch, received_at }) => ({ batch, receivedAt: received_at })), last: rows.at(-1)?.id ?? "0" }
})

const byNode = (rows: ReadonlyArray<{ readonly node: string | null } & Rejection>): ReadonlyMap<string, ReadonlyArray<Rejection>> => {
  const found = new Map<string, Array<Rejection>>()
  for (const { count, node, reason, remedy } of rows) {
    const list = found.get(node ?? "") ?? []
    list.push({ reason, remedy, count })
    found.set(node ?? "", list)
  }
  return found
}

/** Samples that came after the settlement, by node. */
export const lateBatches = Effect.fnUntraced(function* (runId: string, last: string): Effect.fn.Return<ReadonlyMap<string, ReadonlyArray<Rejection>>, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const rows = yield* sql<{ node: string; count: number }>`
    SELECT node, sum(json_array_length(batch -> 'samples'))::int4 AS count FROM telemetry_batches
    WHERE run_id = ${runId} AND id > CAST(${last}::text AS bigint) GROUP BY node`
  return byNode(rows.map((row) => ({ ...row, reason: "arrived after the pool was settled", remedy: "Keep the node connected while its job ends; what comes later is not paid." })))
})

/** What the store did not take, by node; under `""` where not even the node can be told. */
export const refusalsOf = Effect.fnUntraced(function* (runId: string): Effect.fn.Return<ReadonlyMap<string, ReadonlyArray<Rejection>>, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const rows = yield* sql<{ node: string | null; reason: string; remedy: string; count: number }>`
    SELECT node, reason, remedy, sum(samples)::int4 AS count FROM telemetry_refusals WHERE run_id = ${runId} GROUP BY node, reason, remedy ORDER BY reason`
  return byNode(rows.map((row) => ({ ...row, reason: Object.hasOwn(faultReasons, row.reason) ? faultReasons[row.reason as keyof typeof faultReasons] : row.reason })))
})
