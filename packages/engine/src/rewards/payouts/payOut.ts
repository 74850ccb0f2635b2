/**
 * One pass of paying out: goes on with what is on its way, then takes up what is due. Safe to kill anywhere, safe to run twice at once:
 * the outbox decides, this only drives. The order below is the whole of it: sign, store, send; ask before sending again; sign anew only
 * after `Expired` or `Failed`, which a rail says only when it is certain.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { formatExact } from "../amount.ts"
import { PayoutError } from "./PayoutError.ts"
import { type Due, type Payout, PayoutOutbox } from "./PayoutOutbox.ts"
import type { PayoutRail } from "./PayoutRail.ts"

/** A payment that the network takes and then does not carry out costs a fee each time. */
const MOST_FAILURES = 5
const AT_ONCE = 4

export interface Refusal {
  readonly node: string
  readonly payout?: string
  readonly message: string
  readonly remedy?: string
}

export interface PayOutReport {
  /** as they stand now */
  readonly payouts: ReadonlyArray<Payout>
  readonly refused: ReadonlyArray<Refusal>
}

export interface Rehearsal {
  readonly due: ReadonlyArray<Due & { readonly note: string }>
  readonly refused: ReadonlyArray<Refusal>
}

const refusal = (node: string, { message, remedy }: PayoutError, payout?: string): Refusal => ({ node, message, ...(remedy === undefined ? {} : { remedy }), ...(payout === undefined ? {} : { payout }) })

/** Steps one payout until it is over, or `until` (epoch milliseconds) has passed. */
export const advance = Effect.fn("payouts.advance")(function* (rail: PayoutRail, id: string, until: number): Effect.fn.Return<Payout, PayoutError, PayoutOutbox> {
  const outbox = yield* PayoutOutbox
  const over = Effect.map(Clock.currentTimeMillis, (now) => now >= until)
  for (;;) {
    const payout = yield* outbox.get(id)
    if (payout.state === "confirmed" || payout.state === "abandoned") return payout
    if (payout.network !== rail.network || payout.token !== rail.token) {
      return yield* new PayoutError({ reason: "Refused", message: `Payout ${id} was prepared for token ${payout.token} on network ${payout.network}, and the settings now name ${rail.token} on ${rail.network}`, remedy: "Point the settings back until it is confirmed, or abandon it: hyper rewards payouts abandon " + id })
    }
    const step = payout.state === "prepared" || payout.payment === undefined
      ? Effect.gen(function* () {
          if (payout.failures >= MOST_FAILURES) {
            return yield* new PayoutError({ reason: "Refused", message: `The network took ${payout.failures} payments of payout ${id} and carried none out: ${payout.reason ?? "no reason given"}`, remedy: `Mend that, then give the amount back with: hyper rewards payouts abandon ${id}` })
          }
          const payment = yield* rail.sign({ id, address: payout.address, units: payout.units })
          yield* outbox.recordSigned(id, payment)
          return "go on" as const
        })
      : settle(rail, id, payout.payment)
    const done = yield* step.pipe(
      // what is out of reach may come back; what is refused will not by itself
      Effect.catchIf((error) => error.reason === "Unavailable", (error) => Effect.as(outbox.note(id, error.message), "wait" as const)),
      Effect.tapError((error) => outbox.note(id, error.message))
    )
    if (done === "stop") return yield* outbox.get(id)
    if (done === "wait") {
      if (yield* over) return yield* outbox.get(id)
      yield* Effect.sleep(rail.pause)
    }
  }
})

const settle = Effect.fnUntraced(function* (rail: PayoutRail, id: string, payment: NonNullable<Payout["payment"]>): Effect.fn.Return<"go on" | "wait" | "stop", PayoutError, PayoutOutbox> {
  const outbox = yield* PayoutOutbox
  const fate = yield* rail.fate(payment)
  yield* outbox.recordFate(id, payment.reference, fate)
  if (fate._tag === "Failed") return "stop"
  if (fate._tag !== "Pending") return "go on"
  // whatever the answer: a refusal or a lost connection says nothing about whether the payment was taken
  if (fate.resend) yield* Effect.ignore(rail.send(payment))
  return "wait"
})

export const payOut = Effect.fn("payouts.payOut")(function* (rail: PayoutRail, patience: number): Effect.fn.Return<PayOutReport, PayoutError, PayoutOutbox> {
  const outbox = yield* PayoutOutbox
  const refused: Array<Refusal> = []
  const until = (yield* Clock.currentTimeMillis) + patience
  for (const { address, node } of yield* outbox.due(rail.id)) {
    yield* rail.checkAddress(address).pipe(
      Effect.andThen(outbox.prepare({ node, rail: rail.id, network: rail.network, token: rail.token, limits: rail.limits })),
      Effect.catch((error) => Effect.sync(() => void refused.push(refusal(node, error))))
    )
  }
  const payouts = yield* Effect.forEach(
    yield* outbox.open(rail.id),
    ({ id, node }) => advance(rail, id, until).pipe(Effect.catch((error) => Effect.andThen(Effect.sync(() => void refused.push(refusal(node, error, id))), outbox.get(id)))),
    { concurrency: AT_ONCE }
  )
  return { payouts, refused }
})

/** What `payOut` would begin now, each tried on the network's present state. Holds, signs and sends nothing. */
export const rehearse = Effect.fn("payouts.rehearse")(function* (rail: PayoutRail): Effect.fn.Return<Rehearsal, PayoutError, PayoutOutbox> {
  const outbox = yield* PayoutOutbox
  const refused: Array<Refusal> = []
  const due: Array<Due & { readonly note: string }> = []
  for (const one of yield* outbox.due(rail.id)) {
    if (one.units > rail.limits.perPayout) {
      refused.push({ node: one.node, message: `${formatExact(one.units)} is more than the limit for one payout, ${formatExact(rail.limits.perPayout)}`, remedy: "Raise limits.perPayout in the rail's settings if this is right." })
      continue
    }
    yield* rail.checkAddress(one.address).pipe(
      Effect.andThen(rail.simulate({ id: "rehearsal", address: one.address, units: one.units })),
      Effect.map((note) => void due.push({ ...one, note })),
      Effect.catch((error) => Effect.sync(() => void refused.push(refusal(one.node, error))))
    )
  }
  return { due, refused }
})
