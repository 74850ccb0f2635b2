/** The outbox over SQL. What must never happen is refused by the database too: store/migrations/0009_payouts.ts. */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { SqlError } from "effect/sql/SqlError"
import { availableAccount, paidAccount, payingAccount } from "../accounts.ts"
import { formatExact } from "../amount.ts"
import { openAccount, transfer } from "../transfer.ts"
import { unlock } from "../unlock.ts"
import { bindingHolds, statementBytes } from "./addressBinding.ts"
import { PayoutError } from "./PayoutError.ts"
import { type NodeAddress, type Payout, PayoutOutbox, type PayoutState } from "./PayoutOutbox.ts"

const DAY = 86_400_000

interface Row {
  readonly id: string
  readonly node: string
  readonly rail: string
  readonly network: string
  readonly token: string
  readonly address: string
  readonly units: string
  readonly state: PayoutState
  readonly reason: string | null
  readonly created_at: number
  readonly updated_at: number
  readonly reference: string | null
  readonly bytes: string | null
  readonly expiry: string | null
  readonly failures: number
  readonly signatures: number
}

const payoutOf = (row: Row): Payout => ({
  id: row.id,
  node: row.node,
  rail: row.rail,
  network: row.network,
  token: row.token,
  address: row.address,
  units: BigInt(row.units),
  state: row.state,
  reason: row.reason ?? undefined,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  payment: row.reference === null || row.bytes === null || row.expiry === null ? undefined : { reference: row.reference, bytes: row.bytes, expiry: row.expiry },
  failures: row.failures,
  signatures: row.signatures
})

const failed = (error: SqlError): PayoutError =>
  new PayoutError({ reason: "Unavailable", message: `The outbox failed: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}` })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient

  const atomically = <A, E>(effect: Effect.Effect<A, E | SqlError, SqlClient>): Effect.Effect<A, Exclude<E, SqlError> | PayoutError> =>
    sql.withTransaction(Effect.provideService(effect, SqlClient, sql)).pipe(
      Effect.retry({ times: 5, while: (error) => error instanceof SqlError && error.isRetryable }),
      Effect.mapError((error) => (error instanceof SqlError ? failed(error) : error as Exclude<E, SqlError>))
    )

  const columns = sql.literal(`p.id, p.node, p.rail, p.network, p.token, p.address, p.units::text, p.state, p.reason, p.created_at, p.updated_at,
    m.reference, m.bytes, m.expiry,
    (SELECT count(*)::int FROM payout_payments f WHERE f.payout = p.id AND f.outcome = 'failed') AS failures,
    (SELECT count(*)::int FROM payout_payments f WHERE f.payout = p.id) AS signatures
    FROM payouts p LEFT JOIN LATERAL (SELECT * FROM payout_payments x WHERE x.payout = p.id ORDER BY x.number DESC LIMIT 1) m ON true`)

  const one = Effect.fnUntraced(function* (id: string): Effect.fn.Return<Payout, PayoutError | SqlError> {
    const [row] = yield* sql<Row>`SELECT ${columns} WHERE p.id = ${id}`
    return row === undefined ? yield* new PayoutError({ reason: "NotFound", message: `There is no payout ${id}`, remedy: "hyper rewards payouts lists them" }) : payoutOf(row)
  })

  /** Holds the row until the end of the transaction; its state then. */
  const lock = Effect.fnUntraced(function* (id: string): Effect.fn.Return<{ readonly node: string; readonly state: PayoutState; readonly units: bigint; readonly tenant: string; readonly reason: string | null }, PayoutError | SqlError> {
    const [row] = yield* sql<{ node: string; state: PayoutState; units: string; tenant: string; reason: string | null }>`SELECT node, state, units::text, tenant, reason FROM payouts WHERE id = ${id} FOR UPDATE`
    if (row === undefined) return yield* new PayoutError({ reason: "NotFound", message: `There is no payout ${id}`, remedy: "hyper rewards payouts lists them" })
    return { ...row, units: BigInt(row.units) }
  })

  const move = (id: string, state: PayoutState, reason: string | null, now: number) =>
    sql`UPDATE payouts SET state = ${state}, reason = CAST(${reason} AS text), updated_at = ${now}::float8 WHERE id = ${id}`

  /** Each node's newest statement; it counts only where that node's key signed it. */
  const newest = sql.literal("(SELECT DISTINCT ON (node, rail) node, rail, address, sequence, signature, at FROM payout_addresses ORDER BY node, rail, sequence DESC) b")
  /** A node of `newest` that something is due to: available, and no payout on its way. */
  const isDue = sql.literal("a.id = 'node:' || b.node || ':available' AND a.balance > 0 AND NOT EXISTS (SELECT 1 FROM payouts o WHERE o.node = b.node AND o.rail = b.rail AND o.state IN ('prepared', 'signed'))")

  return PayoutOutbox.of({
    register: Effect.fn("PayoutOutbox.register")(function* (node, rail, address, sign) {
      return yield* atomically(Effect.gen(function* () {
        yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`payout-address:${rail}/${node}`}, 0))::text`
        const [last] = yield* sql<NodeAddress & { readonly signature: string }>`
          SELECT node, rail, address, sequence, signature, at FROM payout_addresses WHERE node = ${node} AND rail = ${rail} ORDER BY sequence DESC LIMIT 1`
        if (last !== undefined && last.address === address && bindingHolds(last, last.signature)) return { node, rail, address, sequence: last.sequence, at: last.at }
        const at = yield* Clock.currentTimeMillis
        const statement = { node, rail, address, sequence: (last?.sequence ?? 0) + 1 }
        const signature = yield* sign(statementBytes(statement))
        if (!bindingHolds(statement, signature)) {
          return yield* new PayoutError({ reason: "Refused", message: `The address for node ${node.slice(0, 12)} is not signed by that node's key`, remedy: "Register it on the machine whose node key it is." })
        }
        yield* sql`INSERT INTO payout_addresses (node, rail, sequence, address, signature, at) VALUES (${node}, ${rail}, ${statement.sequence}, ${address}, ${signature}, ${at}::float8)`
        return { ...statement, at }
      }))
    }),
    addresses: atomically(Effect.map(
      sql<NodeAddress & { readonly signature: string }>`SELECT b.* FROM ${newest} ORDER BY b.at`,
      (rows) => rows.filter((row) => bindingHolds(row, row.signature)).map(({ address, at, node, rail, sequence }): NodeAddress => ({ node, rail, address, sequence, at }))
    )),
    due: Effect.fn("PayoutOutbox.due")(function* (rail) {
      return yield* atomically(Effect.gen(function* () {
        yield* unlock
        const rows = yield* sql<{ node: string; rail: string; address: string; sequence: number; signature: string; units: string }>`
          SELECT b.node, b.rail, b.address, b.sequence, b.signature, a.balance::text AS units FROM ${newest} JOIN ledger_accounts a ON ${isDue} WHERE b.rail = ${rail} ORDER BY b.node`
        return rows.filter((row) => bindingHolds(row, row.signature)).map(({ address, node, units }) => ({ node, address, units: BigInt(units) }))
      }))
    }),
    prepare: Effect.fn("PayoutOutbox.prepare")(function* ({ limits, network, node, rail, token }) {
      return yield* atomically(Effect.gen(function* () {
        // one at a time a rail: the day's sum must hold against another that is being prepared
        yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`payouts:${rail}`}, 0))::text`
        const [found] = yield* sql<{ node: string; rail: string; address: string; sequence: number; signature: string; units: string; tenant: string }>`
          SELECT b.node, b.rail, b.address, b.sequence, b.signature, a.balance::text AS units, a.tenant FROM ${newest} JOIN ledger_accounts a ON ${isDue} WHERE b.node = ${node} AND b.rail = ${rail} FOR UPDATE OF a`
        if (found === undefined || !bindingHolds(found, found.signature)) return undefined
        const { address, tenant } = found
        const units = BigInt(found.units)
        const now = yield* Clock.currentTimeMillis
        const who = `${formatExact(units)} to node ${node.slice(0, 12)}`
        if (units > limits.perPayout) {
          return yield* new PayoutError({ reason: "Refused", message: `${who} is more than the limit for one payout, ${formatExact(limits.perPayout)}`, remedy: "Raise limits.perPayout in the rail's settings if this is right; nothing was held or sent." })
        }
        const [day] = yield* sql<{ units: string }>`SELECT COALESCE(sum(units), 0)::text AS units FROM payouts WHERE rail = ${rail} AND state <> 'abandoned' AND created_at > ${now - DAY}::float8`
        const sofar = BigInt(day?.units ?? "0")
        if (sofar + units > limits.perDay) {
          return yield* new PayoutError({ reason: "Refused", message: `${who} would make ${formatExact(sofar + units)} in 24 hours; the limit is ${formatExact(limits.perDay)}`, remedy: "It is paid when the day's sum allows; or raise limits.perDay in the rail's settings. Nothing was held or sent." })
        }
        const [{ count } = { count: 0 }] = yield* sql<{ count: number }>`SELECT count(*)::int AS count FROM payouts WHERE node = ${node} AND rail = ${rail}`
        const id = randomUUID()
        yield* openAccount(payingAccount(node), tenant, "paying")
        yield* transfer({ effectKey: `payout:${id}`, debit: availableAccount(node), credit: payingAccount(node), units, memo: `held for payout ${id}` })
        yield* sql`
          INSERT INTO payouts (id, effect_key, tenant, node, rail, network, token, address, units, account, created_at, updated_at)
          VALUES (${id}, ${`${rail}/${node}/${count + 1}`}, ${tenant}, ${node}, ${rail}, ${network}, ${token}, ${address}, CAST(${units.toString()}::text AS numeric), ${payingAccount(node)}, ${now}::float8, ${now}::float8)`
        return yield* one(id)
      }))
    }),
    recordSigned: Effect.fn("PayoutOutbox.recordSigned")(function* (id, payment) {
      yield* atomically(Effect.gen(function* () {
        if ((yield* lock(id)).state !== "prepared") return
        const now = yield* Clock.currentTimeMillis
        yield* sql`
          INSERT INTO payout_payments (payout, number, reference, bytes, expiry, signed_at)
          SELECT ${id}, count(*) + 1, ${payment.reference}, ${payment.bytes}, ${payment.expiry}, ${now}::float8 FROM payout_payments WHERE payout = ${id}`
        yield* move(id, "signed", null, now)
      }))
    }),
    recordFate: Effect.fn("PayoutOutbox.recordFate")(function* (id, reference, fate) {
      yield* atomically(Effect.gen(function* () {
        const { node, reason, state, tenant, units } = yield* lock(id)
        if (state !== "signed" || (fate._tag === "Pending" && fate.detail === reason)) return
        const now = yield* Clock.currentTimeMillis
        if (fate._tag === "Pending") return yield* Effect.asVoid(move(id, "signed", fate.detail, now))
        const outcome = fate._tag === "Landed" ? "confirmed" : fate._tag === "Failed" ? "failed" : "expired"
        const detail = fate._tag === "Failed" ? fate.detail : null
        const ended = yield* sql`
          UPDATE payout_payments SET outcome = ${outcome}, detail = CAST(${detail} AS text), ended_at = ${now}::float8
          WHERE payout = ${id} AND reference = ${reference} AND outcome IS NULL RETURNING number`
        if (ended.length === 0) return
        if (fate._tag !== "Landed") return yield* Effect.asVoid(move(id, "prepared", detail ?? "the last payment expired before it landed", now))
        yield* openAccount(paidAccount(node), tenant, "paid")
        yield* transfer({ effectKey: `paid:${id}`, debit: payingAccount(node), credit: paidAccount(node), units, memo: `payout ${id} landed as ${reference}` })
        yield* move(id, "confirmed", null, now)
      }))
    }),
    note: Effect.fn("PayoutOutbox.note")(function* (id, reason) {
      yield* atomically(Effect.gen(function* () {
        const { reason: before, state } = yield* lock(id)
        if (reason !== before && (state === "prepared" || state === "signed")) yield* move(id, state, reason, yield* Clock.currentTimeMillis)
      }))
    }),
    get: (id) => atomically(one(id)),
    open: (rail) => atomically(Effect.map(sql<Row>`SELECT ${columns} WHERE p.rail = ${rail} AND p.state IN ('prepared', 'signed') ORDER BY p.created_at, p.id`, (rows) => rows.map(payoutOf))),
    list: (limit) => atomically(Effect.map(sql<Row>`SELECT ${columns} ORDER BY p.created_at DESC, p.id LIMIT ${limit}`, (rows) => rows.map(payoutOf))),
    abandon: Effect.fn("PayoutOutbox.abandon")(function* (id) {
      return yield* atomically(Effect.gen(function* () {
        const { node, state, units } = yield* lock(id)
        if (state === "signed") {
          return yield* new PayoutError({ reason: "Refused", message: `Payout ${id} is signed, and may still land`, remedy: "hyper rewards payout asks the network; when the payment has expired for certain, abandon it then." })
        }
        if (state === "confirmed") return yield* new PayoutError({ reason: "Refused", message: `Payout ${id} was paid` , remedy: "There is nothing to take back: hyper rewards payouts shows the transaction." })
        if (state === "prepared") {
          yield* transfer({ effectKey: `payout-returned:${id}`, debit: payingAccount(node), credit: availableAccount(node), units, memo: `payout ${id} was abandoned` })
          yield* move(id, "abandoned", null, yield* Clock.currentTimeMillis)
        }
        return yield* one(id)
      }))
    })
  })
})

/** Needs the migrated database. */
export const layer: Layer.Layer<PayoutOutbox, never, SqlClient> = Layer.effect(PayoutOutbox, make)
