import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
import { formatExact, parseAmount } from "@hypernode/engine/rewards/amount"
import { closePool, DEFAULT_WINDOW, openPool, PoolOptions, settlePool } from "@hypernode/engine/rewards/measuredWork"
import { policies } from "@hypernode/engine/rewards/policy"
import * as Effect from "effect/Effect"

export const LedgerOptions = PoolOptions
export type LedgerOptions = PoolOptions

export default definePlugin({
  id: "ledger",
  version: "1.0.0",
  stages: {
    reward: stage<"reward", LedgerOptions>({
      kind: "reward",
      effect: "external",
      options: LedgerOptions,
      estimate: ({ challengeWindow: window = DEFAULT_WINDOW, policy = "work-v1", pool }) =>
        Effect.succeed({
          notes: [{ level: "info" as const, message: `${policies[policy].formula}; locked for ${window}. No chain is connected: HYPER here is a local test issuance, not money.` }],
          sideEffects: [`moves ${formatExact(parseAmount(pool))} into escrow when the run starts, and pays it out for measured work whatever the outcome`],
          tools: [],
          hosts: []
        }),
      open: openPool,
      close: closePool,
      body: { run: (context) => settlePool(context, { jobId: context.input.trained.jobId, deviceClass: context.input.trained.deviceClass, endpoint: context.input.endpoint?.id }) }
    })
  }
})
