import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
import { formatExact, parseAmount } from "@hypernode/engine/rewards/amount"
import { closePool, DEFAULT_WINDOW, openPool, PoolOptions, settlePool } from "@hypernode/engine/rewards/measuredWork"
import type { PayoutError } from "@hypernode/engine/rewards/payouts/PayoutError"
import { policies } from "@hypernode/engine/rewards/policy"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import { readSettings, settingsHint } from "./Settings.ts"

export const SolanaOptions = PoolOptions
export type SolanaOptions = PoolOptions

const denied = ({ message, remedy }: PayoutError): StageError => new StageError({ reason: "Denied", message, ...(remedy === undefined ? {} : { remedy }) })

/** What would keep every payout from being made is said before anything is spent; a node that is out of reach today may answer tomorrow. */
const checkSettings = Effect.fn("solana.checkSettings")(function*(home: string) {
  const settings = yield* Effect.mapError(readSettings(home), denied)
  if (settings === undefined) return yield* new StageError({ reason: "Denied", message: "This home pays nothing on Solana: it has no solana.json", remedy: `${settingsHint(home)}; or use the ledger plugin, which pays on no chain.` })
  const { solanaRail } = yield* Effect.promise(() => import("./SolanaRail.ts"))
  yield* solanaRail(settings).pipe(Effect.asVoid, Effect.catch((error) => (error.reason === "Unavailable" ? Effect.logWarning(`solana: ${error.message}`) : Effect.fail(denied(error)))))
})

export default definePlugin({
  id: "solana",
  version: "1.0.0",
  stages: {
    reward: stage<"reward", SolanaOptions>({
      kind: "reward",
      effect: "external",
      options: SolanaOptions,
      estimate: ({ challengeWindow: window = DEFAULT_WINDOW, policy = "work-v1", pool }) =>
        Effect.succeed({
          notes: [{ level: "info" as const, message: `${policies[policy].formula}; locked for ${window}, then paid as an SPL token to the wallet that each node registered, within the limits of this home's solana.json. An on-chain amount links a node to a wallet, for everybody to see. HYPER is a test issuance until its mint exists.` }],
          sideEffects: [`moves ${formatExact(parseAmount(pool))} into escrow when the run starts, accrues it for measured work whatever the outcome, and sends transactions on Solana when it unlocks`],
          tools: [],
          hosts: []
        }),
      open: (context) => Effect.andThen(checkSettings(context.home), openPool(context)),
      close: closePool,
      body: {
        run: Effect.fn("solana.reward")(function*(context) {
          const { endpoint, trained } = context.input
          const settlement = yield* settlePool(context, { jobId: trained.jobId, deviceClass: trained.deviceClass, endpoint: endpoint?.id })
          const progress = yield* Progress
          yield* progress.log(`Paid on Solana from ${new Date(settlement.unlocksAt).toISOString()} on, to nodes with a registered wallet (hyper rewards address); hyper rewards payouts shows them.`)
          return settlement
        })
      }
    })
  }
})
