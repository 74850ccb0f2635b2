/**
 * The port to a chain. A rail knows one network, one token and one paying key; it keeps nothing. The outbox decides what is signed,
 * when, and what happens after a crash, and relies on four promises:
 *
 * - `sign` sends nothing;
 * - `send` may be repeated with the same payment: the network takes it at most once;
 * - `fate` says `Landed`, `Failed` or `Expired` only when that can never change again; everything doubtful is `Pending`;
 * - two payments of one order can both land, so a second one is signed only after the first is `Failed` or `Expired`.
 */
import type * as Effect from "effect/Effect"
import type { PayoutError } from "./PayoutError.ts"

export interface PaymentOrder {
  /** the payout's id: travels with the payment, where everybody can read it */
  readonly id: string
  readonly address: string
  /** base units of 10^-9 HYPER */
  readonly units: bigint
}

/** What is stored before it is sent. */
export interface SignedPayment {
  /** the network's name for it */
  readonly reference: string
  /** what is sent, as text */
  readonly bytes: string
  /** from when on it can land no more, in the rail's own words */
  readonly expiry: string
}

export type Fate =
  | { readonly _tag: "Landed" }
  | { readonly _tag: "Failed"; readonly detail: string }
  | { readonly _tag: "Expired" }
  /** `resend`: nobody is known to have it */
  | { readonly _tag: "Pending"; readonly detail: string; readonly resend: boolean }

/** Base units; a payout beyond either is refused. */
export interface PayoutLimits {
  readonly perPayout: bigint
  /** over the last 24 hours, what is on its way included */
  readonly perDay: bigint
}

export interface PayoutRail {
  /** `solana` */
  readonly id: string
  /** which network this is, by its genesis: a payout prepared for one is never sent on another */
  readonly network: string
  readonly token: string
  readonly limits: PayoutLimits
  /** milliseconds between two looks at a payment that is on its way */
  readonly pause: number
  /** Fails `Refused` where the address cannot, or should not, receive the token. */
  readonly checkAddress: (address: string) => Effect.Effect<void, PayoutError>
  /** Tries the payment on the network's present state, without sending. In words: what it would do. */
  readonly simulate: (order: PaymentOrder) => Effect.Effect<string, PayoutError>
  readonly sign: (order: PaymentOrder) => Effect.Effect<SignedPayment, PayoutError>
  readonly send: (payment: SignedPayment) => Effect.Effect<void, PayoutError>
  readonly fate: (payment: SignedPayment) => Effect.Effect<Fate, PayoutError>
}
