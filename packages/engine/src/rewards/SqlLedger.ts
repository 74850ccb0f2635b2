/**
 * Ledger over SQL. Each effect is one transaction and every transfer has an effect key: after a crash at any statement either nothing of
 * it is there, or all, and doing it again changes nothing.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { SqlError } from "effect/sql/SqlError"
import { canonicalJson } from "../artifact/canonicalJson.ts"
import type { Settlement } from "../stage/values.ts"
import { ISSUANCE, ISSUANCE_MEMO, FIRST_ISSUANCE, escrowAccount, lockedAccount, ownerAccount } from "./accounts.ts"
import { formatExact } from "./amount.ts"
import type { Basis } from "./Evidence.ts"
import { explainPool } from "./explain.ts"
import { Ledger, LedgerError, type PoolTerms } from "./Ledger.ts"
import { batchesOf, lateBatches, refusalsOf } from "./poolBatches.ts"
import { policyIds, type Policy } from "./policy.ts"
import { compute, policyOf, settlementOf } from "./settlement.ts"
import { openAccount, transfer } from "./transfer.ts"
import { unlock } from "./unlock.ts"

interface PoolRow {
  readonly tenant: string
  readonly step_id: string
  readonly units: string
  readonly policy: string
  readonly challenge_window: number
  readonly opened_at: number
  readonly settled_at: number | null
  readonly basis: Basis | null
  readonly last_batch: string | null
  readonly settlement: Settlement | null
}

const failed = (error: SqlError): LedgerError =>
  new LedgerError({ message: `The ledger failed: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}` })

const named = (id: string): Effect.Effect<Policy, LedgerError> => {
  const policy = policyOf(id)
  return policy === undefined
    ? Effect.fail(new LedgerError({ message: `There is no reward policy ${JSON.stringify(id)}`, remedy: `Use one of: ${policyIds.join(", ")}.` }))
    : Effect.succeed(policy)
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient

  const atomically = <A, E>(effect: Effect.Effect<A, E | SqlError, SqlClient>): Effect.Effect<A, Exclude<E, SqlError> | LedgerError> =>
    sql.withTransaction(Effect.provideService(effect, SqlClient, sql)).pipe(
      // two settlements that lock each other's accounts: one of them is told to try again
      Effect.retry({ times: 5, while: (error) => error instanceof SqlError && error.isRetryable }),
      Effect.mapError((error) => (error instanceof SqlError ? failed(error) : error as Exclude<E, SqlError>))
    )

  /** Until the end of the transaction; the second is the telemetry store's, so that no batch with a lower id appears later. */
  const lockPool = Effect.fnUntraced(function* (runId: string, stepId: string) {
    yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`pool:${runId}/${stepId}`}, 0))::text`
    yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`telemetry:${runId}`}, 0))::text`
  })

  const pools = (runId: string) => sql<PoolRow>`
    SELECT tenant, step_id, units::text, policy, challenge_window, opened_at, settled_at, basis, last_batch::text, settlement
    FROM ledger_pools WHERE run_id = ${runId} ORDER BY step_id`
  const poolOf = (runId: string, stepId: string) => Effect.map(pools(runId), (rows) => rows.find((row) => row.step_id === stepId))

  /** Inside the caller's transaction, with the pool locked. */
  const open = Effect.fnUntraced(function* ({ challengeWindow, policy, runId, stepId, tenant, units }: PoolTerms): Effect.fn.Return<PoolRow, LedgerError | SqlError, SqlClient> {
    yield* named(policy)
    if (units <= 0n) return yield* new LedgerError({ message: `The pool of step ${stepId} is ${formatExact(units)}`, remedy: "Give the pool more than nothing." })
    const there = yield* poolOf(runId, stepId)
    if (there !== undefined) {
      if (there.units === units.toString() && there.policy === policy && there.tenant === tenant && there.challenge_window === challengeWindow) return there
      return yield* new LedgerError({ message: `The pool of step ${stepId} of run ${runId} is open with ${formatExact(BigInt(there.units))} under ${there.policy}; it cannot become ${formatExact(units)} under ${policy}`, remedy: "Start a new run for new terms." })
    }
    const [owner, escrow] = [ownerAccount(tenant), escrowAccount(runId, stepId)]
    yield* openAccount(owner, tenant, "owner")
    yield* transfer({ effectKey: `issue:${tenant}`, debit: ISSUANCE, credit: owner, units: FIRST_ISSUANCE, memo: ISSUANCE_MEMO })
    const [{ balance } = { balance: "0" }] = yield* sql<{ balance: string }>`SELECT balance::text FROM ledger_accounts WHERE id = ${owner} FOR UPDATE`
    if (BigInt(balance) < units) {
      return yield* new LedgerError({ message: `The pool of step ${stepId} needs ${formatExact(units)}; ${tenant} has ${formatExact(BigInt(balance))}`, remedy: "Lower the pool in the pipeline's reward step." })
    }
    yield* openAccount(escrow, tenant, "escrow")
    yield* transfer({ effectKey: `open:${runId}/${stepId}`, debit: owner, credit: escrow, units, memo: `pool of step ${stepId} into escrow`, runId, stepId })
    const now = yield* Clock.currentTimeMillis
    yield* sql`
      INSERT INTO ledger_pools (run_id, step_id, tenant, escrow, units, policy, challenge_window, opened_at)
      VALUES (${runId}, ${stepId}, ${tenant}, ${escrow}, CAST(${units.toString()}::text AS numeric), ${policy}, ${challengeWindow},
        LEAST(${now}::float8, COALESCE((SELECT created_at FROM runs WHERE id = ${runId}), ${now}::float8)))`
    return (yield* poolOf(runId, stepId)) as PoolRow
  })

  const settle = Effect.fnUntraced(function* (terms: PoolTerms): Effect.fn.Return<Settlement, LedgerError | SqlError, SqlClient> {
    const { runId, stepId, tenant } = terms
    const pool = yield* open(terms)
    if (pool.settlement !== null) return pool.settlement
    const policy = yield* named(pool.policy)
    const units = BigInt(pool.units)
    const now = yield* Clock.currentTimeMillis
    const unlocksAt = now + pool.challenge_window
    const basis: Basis = { openedAt: pool.opened_at, deviceClasses: terms.deviceClasses ?? {}, exclusions: terms.exclusions ?? [] }
    const { batches, last } = yield* batchesOf(runId)
    const computed = compute(policy, units, basis, batches)
    const settlement = settlementOf(policy, units, computed, unlocksAt)
    const escrow = escrowAccount(runId, stepId)
    for (const [i, { node, units: earned }] of computed.allocation.shares.entries()) {
      if (earned === 0n) continue
      // a registered node's account is its owner's; one that nobody registered is shown to the tenant that first paid it
      const [identity] = yield* sql<{ tenant: string }>`SELECT tenant FROM node_identities WHERE public_key = ${node}`
      yield* openAccount(lockedAccount(node), identity?.tenant ?? tenant, "locked")
      yield* transfer({ effectKey: `accrue:${runId}/${stepId}/${node}`, debit: escrow, credit: lockedAccount(node), units: earned, memo: `accrued for ${settlement.accruals[i]?.reason ?? "work"}`, runId, stepId })
      yield* sql`INSERT INTO ledger_accruals (run_id, step_id, node, units, unlocks_at) VALUES (${runId}, ${stepId}, ${node}, CAST(${earned.toString()}::text AS numeric), ${unlocksAt})`
    }
    if (computed.allocation.returned > 0n) {
      yield* transfer({ effectKey: `return:${runId}/${stepId}`, debit: escrow, credit: ownerAccount(tenant), units: computed.allocation.returned, memo: "no measured work: returned to its owner", runId, stepId })
    }
    yield* sql`
      UPDATE ledger_pools SET settled_at = ${now}, basis = CAST(${canonicalJson(basis)}::text AS json), last_batch = CAST(${last}::text AS bigint), settlement = CAST(${canonicalJson(settlement)}::text AS json)
      WHERE run_id = ${runId} AND step_id = ${stepId}`
    return settlement
  })

  const explanationsOf = Effect.fnUntraced(function* (runId: string, pool: PoolRow): Effect.fn.Return<ReturnType<typeof explainPool>, LedgerError | SqlError, SqlClient> {
    const policy = yield* named(pool.policy)
    const settled = pool.settled_at !== null
    const basis = pool.basis ?? { openedAt: pool.opened_at, deviceClasses: {}, exclusions: [] }
    const units = BigInt(pool.units)
    const { batches } = yield* batchesOf(runId, pool.last_batch ?? undefined)
    const late = settled ? yield* lateBatches(runId, pool.last_batch ?? "0") : new Map()
    const refused = yield* refusalsOf(runId)
    const { allocation, evidence } = compute(policy, units, basis, batches)
    const further = new Map(evidence.map(({ node }) => [node, [...(refused.get(node) ?? []), ...(refused.get("") ?? []), ...(late.get(node) ?? [])]]))
    const unlocksAt = pool.settlement?.unlocksAt ?? (yield* Clock.currentTimeMillis) + pool.challenge_window
    return explainPool({ units, evidence, allocation, settled, unlocksAt, further })
  })

  return Ledger.of({
    openEscrow: Effect.fn("Ledger.openEscrow")(function* (terms) {
      yield* atomically(Effect.andThen(lockPool(terms.runId, terms.stepId), open(terms)))
    }),
    settle: Effect.fn("Ledger.settle")(function* (terms) {
      return yield* atomically(Effect.andThen(lockPool(terms.runId, terms.stepId), settle(terms)))
    }),
    explain: Effect.fn("Ledger.explain")(function* (runId, node) {
      return yield* atomically(Effect.gen(function* () {
        const all = yield* Effect.forEach(yield* pools(runId), (pool) => explanationsOf(runId, pool))
        return all.flat().filter((explanation) => node === undefined || explanation.node === node)
      }))
    }),
    balances: Effect.fn("Ledger.balances")(function* (tenant) {
      return yield* atomically(Effect.andThen(unlock, sql<{ account: string; units: string }>`SELECT id AS account, balance::text AS units FROM ledger_accounts WHERE tenant = ${tenant} ORDER BY id`))
    }),
    entries: Effect.fn("Ledger.entries")(function* (runId) {
      return yield* sql<{ id: number; at: number; debit: string; credit: string; units: string; memo: string }>`
        SELECT id::float8 AS id, at, debit, credit, units::text, memo FROM ledger_transfers WHERE run_id = ${runId} ORDER BY ledger_transfers.id`.pipe(Effect.mapError(failed))
    })
  })
})

/** Needs the migrated database. */
export const layer: Layer.Layer<Ledger, never, SqlClient> = Layer.effect(Ledger, make)
