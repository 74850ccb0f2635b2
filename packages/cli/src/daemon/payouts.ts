/** Pays out what is due, unattended: once a minute while the daemon lives. A home without `solana.json` pays nothing. */
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { openRail, readSettings } from "@hypernode/plugins/solana/payouts"
import { Duration, Effect, Schedule } from "effect"

const EVERY = Duration.minutes(1)
/** A payment is final about 13 s after it was sent; one that is not goes on at the next pass. */
const PATIENCE = 45_000

const pass = Effect.fn("daemon.payOut")(function*(home: string) {
  if ((yield* readSettings(home)) === undefined) return
  const outbox = yield* PayoutOutbox
  // the chain is asked only when there is something to do
  if ((yield* outbox.due("solana")).length === 0 && (yield* outbox.open("solana")).length === 0) return
  const { payouts, refused } = yield* payOut(yield* openRail(home), PATIENCE)
  for (const payout of payouts.filter(({ state }) => state === "confirmed")) yield* Effect.logInfo(`payout ${payout.id} landed as ${payout.payment?.reference}`)
  for (const { message, node } of refused) yield* Effect.logWarning(`node ${node.slice(0, 12)} is not paid: ${message}`)
})

export const payUnattended = (home: string) =>
  pass(home).pipe(
    Effect.catch((error) => Effect.logWarning(`payouts: ${error.message}`)),
    Effect.repeat(Schedule.spaced(EVERY)),
    Effect.asVoid
  )
