/** Pays out what is due, unattended: once a minute while the daemon lives. A home without `solana.json` pays nothing. */
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import { PayoutOutbox } from "@hypernode/engine/rewards/payouts/PayoutOutbox"
import { Duration, Effect, Schedule } from "effect"
import { existsSync } from "node:fs"
import { join } from "node:path"

const EVERY = Duration.minutes(1)
/** A payment is final about 13 s after it was sent; one that is not goes on at the next pass. */
const PATIENCE = 45_000

/** Loaded when it is first needed. */
export const solanaPayouts = Effect.promise(() => import("@hypernode/plugins/solana/payouts"))

const pass = Effect.fn("daemon.payOut")(function*(home: string) {
  // most homes pay nothing on a chain, and need not load what would
  if (!existsSync(join(home, "solana.json"))) return
  const { openRail } = yield* solanaPayouts
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
    // whatever happens to one pass, there is another
    Effect.catchDefect((defect) => Effect.logError("payouts", defect)),
    Effect.repeat(Schedule.spaced(EVERY)),
    Effect.asVoid
  )
