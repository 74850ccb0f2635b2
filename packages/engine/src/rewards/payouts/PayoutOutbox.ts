/**
 * Money that leaves the ledger, exactly once. Every method is one SQL transaction; none talks to a network.
 *
 *     prepared ──recordSigned──▶ signed ──recordFate──▶ confirmed
 *        │  ▲                      │
 *        │  └── expired or failed ─┘        (for certain: PayoutRail.fate)
 *        └──abandon──▶ abandoned            (the amount is available again)
 *
 * A payment's bytes and its expiry are committed before the first of them is sent. So after a crash anywhere there are two cases: no
 * payment is stored, then none was ever sent and signing is safe without asking the network; or one is stored, then it is asked after
 * and sent again, the same bytes. That is why history is not searched for the payout's id before a first signature. The one case this
 * does not cover is a database restored from a backup that is older than a payment: then look the id up on the network (it is in the
 * payment's memo) before paying out.
 *
 * No daemon's epoch is asked for: a daemon that was replaced while it signed loses against the row's state, its bytes are not stored,
 * and only stored bytes are sent.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { PayoutError } from "./PayoutError.ts"
import type { Fate, PayoutLimits, SignedPayment } from "./PayoutRail.ts"

export type PayoutState = "prepared" | "signed" | "confirmed" | "abandoned"

export interface Payout {
  readonly id: string
  readonly node: string
  readonly rail: string
  readonly network: string
  readonly token: string
  readonly address: string
  /** base units */
  readonly units: bigint
  readonly state: PayoutState
  /** why it did not go on, at the last try */
  readonly reason: string | undefined
  /** epoch milliseconds */
  readonly createdAt: number
  readonly updatedAt: number
  /** the newest payment; open where the state is `signed` */
  readonly payment: SignedPayment | undefined
  /** payments that the network took and did not carry out: each cost a fee */
  readonly failures: number
  readonly signatures: number
}

export interface Due {
  readonly node: string
  readonly address: string
  /** all that is available to the node */
  readonly units: bigint
}

export interface NodeAddress {
  readonly node: string
  readonly rail: string
  readonly address: string
  readonly sequence: number
  readonly at: number
}

export class PayoutOutbox extends Context.Service<
  PayoutOutbox,
  {
    /** `sign` gives the base64 signature of the node's key over the statement. The same address again changes nothing. */
    readonly register: <E>(node: string, rail: string, address: string, sign: (statement: Uint8Array) => Effect.Effect<string, E>) => Effect.Effect<NodeAddress, PayoutError | E>
    readonly addresses: Effect.Effect<ReadonlyArray<NodeAddress>, PayoutError>
    /** Unlocks what has outlived its challenge window; then nodes with an address, something available, and no payout on its way. */
    readonly due: (rail: string) => Effect.Effect<ReadonlyArray<Due>, PayoutError>
    /** Holds all that is available to the node. Undefined where nothing is, or a payout is on its way. `Refused` beyond a limit: nothing is held. */
    readonly prepare: (terms: { readonly node: string; readonly rail: string; readonly network: string; readonly token: string; readonly limits: PayoutLimits }) => Effect.Effect<Payout | undefined, PayoutError>
    /** Undone where the payout is no longer `prepared`: somebody else signed first, and this payment must not be sent. */
    readonly recordSigned: (id: string, payment: SignedPayment) => Effect.Effect<void, PayoutError>
    /** Of the payment with this reference; nothing happens where it has ended. `Pending` is noted as the reason. */
    readonly recordFate: (id: string, reference: string, fate: Fate) => Effect.Effect<void, PayoutError>
    readonly note: (id: string, reason: string) => Effect.Effect<void, PayoutError>
    readonly get: (id: string) => Effect.Effect<Payout, PayoutError>
    /** Prepared and signed ones, oldest first. */
    readonly open: (rail: string) => Effect.Effect<ReadonlyArray<Payout>, PayoutError>
    /** Newest first. */
    readonly list: (limit: number) => Effect.Effect<ReadonlyArray<Payout>, PayoutError>
    /** Gives the amount back to the node's available balance. `Refused` while a payment may still land, or has. */
    readonly abandon: (id: string) => Effect.Effect<Payout, PayoutError>
  }
>()("@hypernode/engine/rewards/payouts/PayoutOutbox") {}
