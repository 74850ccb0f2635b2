/** What pays out: taken by the daemon, which has no use for the stage. */
import { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import * as Effect from "effect/Effect"
import { parseWallet } from "./inspect.ts"
import { readSettings, settingsHint } from "./Settings.ts"
import { solanaRail } from "./SolanaRail.ts"
import { loadPrograms } from "./transferTransaction.ts"

export { readSettings } from "./Settings.ts"

/** `Refused` where the home has no settings. */
export const openRail = Effect.fn("solana.openRail")(function*(home: string) {
  const settings = yield* readSettings(home)
  return settings === undefined
    ? yield* new PayoutError({ reason: "Refused", message: "This home pays nothing on Solana: it has no solana.json", remedy: settingsHint(home) })
    : yield* solanaRail(settings)
})

/** Whether it can be a wallet at all; asks no network. */
export const checkWallet = (address: string): Effect.Effect<void, PayoutError> =>
  Effect.promise(loadPrograms).pipe(Effect.flatMap((programs) => parseWallet(programs, address)), Effect.asVoid)
