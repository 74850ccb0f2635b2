import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { definePlugin, stage, type StageContext } from "@hypernode/engine/plugin/Plugin"
import { formatExact, parseAmount } from "@hypernode/engine/rewards/amount"
import type { Exclusion } from "@hypernode/engine/rewards/Evidence"
import { Ledger, type LedgerError, type PoolTerms } from "@hypernode/engine/rewards/Ledger"
import { policies, policyIds } from "@hypernode/engine/rewards/policy"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { challengeWindow } from "./challengeWindow.ts"

const DEFAULT_WINDOW = "24 h"

const isPool = Schema.makeFilter((text: string) => {
  try {
    return parseAmount(text) > 0n ? undefined : "the pool must be more than nothing"
  } catch (fault) {
    return (fault as Error).message
  }
})

export const LedgerOptions = Schema.Struct({
  pool: Schema.String.check(isPool),
  policy: Schema.optionalKey(Schema.Literals(policyIds)),
  challengeWindow: Schema.optionalKey(
    Schema.String.check(Schema.makeFilter((text) => (challengeWindow(text) === undefined ? `${JSON.stringify(text)} is no time span: write for example "24 h", "30 min" or "7 d", a year at most` : undefined)))
  )
})
export type LedgerOptions = typeof LedgerOptions.Type

const termsOf = ({ options, runId, stepId, tenant }: StageContext<LedgerOptions, unknown>): PoolTerms => ({
  tenant,
  runId,
  stepId,
  units: parseAmount(options.pool),
  policy: options.policy ?? "work-v1",
  challengeWindow: challengeWindow(options.challengeWindow ?? DEFAULT_WINDOW) ?? 0
})

/** What the ledger says with a remedy is the user's to change; without one, the database did not answer. */
const failure = (error: LedgerError): StageError =>
  new StageError(error.remedy === undefined ? { reason: "Unavailable", message: error.message } : { reason: "Denied", message: error.message, remedy: error.remedy })

/** An endpoint that does not answer is not paid for: its job's samples are left out, by name. */
const unhealthy = Effect.fnUntraced(function*(endpoint: Kinds["serve"]["output"] | undefined) {
  if (endpoint === undefined) return []
  const endpoints = yield* Endpoints
  const record = yield* Effect.mapError(endpoints.get(endpoint.id), (error) => new StageError({ reason: "Unavailable", message: error.message }))
  if (record === undefined || record.state === "healthy") return []
  return [{ job: record.job.id, reason: `is of endpoint ${endpoint.id}, which is ${record.state}`, remedy: "Work of an endpoint counts while it answers: look at its log with `hyper logs`, then run again." }] satisfies ReadonlyArray<Exclusion>
})

const run = Effect.fn("ledger.reward")(function*(context: StageContext<LedgerOptions, Kinds["reward"]["input"]>) {
  const ledger = yield* Ledger
  const progress = yield* Progress
  const { endpoint, trained } = context.input
  const settlement = yield* Effect.mapError(
    ledger.settle({ ...termsOf(context), deviceClasses: { [trained.jobId]: trained.deviceClass }, exclusions: yield* unhealthy(endpoint) }),
    failure
  )
  yield* progress.log(`Settled ${settlement.pool} under ${settlement.policy}: ${formatExact(BigInt(settlement.accruedUnits))} to ${settlement.accruals.filter(({ units }) => units !== "0").length} node(s), ${formatExact(BigInt(settlement.returnedUnits))} returned`)
  return settlement
})

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
      open: (context) => Effect.flatMap(Ledger, (ledger) => Effect.mapError(ledger.openEscrow(termsOf(context)), failure)),
      // a failed or cancelled run still pays for the work that was done; nothing measured: all of it returns
      close: (context) => Effect.flatMap(Ledger, (ledger) => Effect.mapError(ledger.settle(termsOf(context)), failure)),
      body: { run }
    })
  }
})
