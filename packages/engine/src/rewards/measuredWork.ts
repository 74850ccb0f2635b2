/** What every reward plugin does before anything is paid anywhere: escrow when the run starts, accrual of measured work when it ends. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Endpoints } from "../capability/Endpoints.ts"
import { Progress } from "../stage/Progress.ts"
import { StageError } from "../stage/StageError.ts"
import { formatExact, parseAmount } from "./amount.ts"
import { challengeWindow } from "./challengeWindow.ts"
import type { Exclusion } from "./Evidence.ts"
import { Ledger, type LedgerError, type PoolTerms } from "./Ledger.ts"
import { policyIds } from "./policy.ts"

export const DEFAULT_WINDOW = "24 h"

const isPool = Schema.makeFilter((text: string) => {
  try {
    return parseAmount(text) > 0n ? undefined : "the pool must be more than nothing"
  } catch (fault) {
    return (fault as Error).message
  }
})

export const PoolOptions = Schema.Struct({
  pool: Schema.String.check(isPool),
  policy: Schema.optionalKey(Schema.Literals(policyIds)),
  challengeWindow: Schema.optionalKey(
    Schema.String.check(Schema.makeFilter((text) => (challengeWindow(text) === undefined ? `${JSON.stringify(text)} is no time span: write for example "24 h", "30 min" or "7 d", a year at most` : undefined)))
  )
})
export type PoolOptions = typeof PoolOptions.Type

/** What a stage knows of where it stands: a part of StageContext. */
interface Place {
  readonly tenant: string
  readonly runId: string
  readonly stepId: string
  readonly options: PoolOptions
}

const termsOf = ({ options, runId, stepId, tenant }: Place): PoolTerms => ({
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
const unhealthy = Effect.fnUntraced(function*(endpoint: string | undefined) {
  if (endpoint === undefined) return []
  const endpoints = yield* Endpoints
  const record = yield* Effect.mapError(endpoints.get(endpoint), (error) => new StageError({ reason: "Unavailable", message: error.message }))
  if (record === undefined || record.state === "healthy") return []
  return [{ job: record.job.id, reason: `is of endpoint ${endpoint}, which is ${record.state}`, remedy: "Work of an endpoint counts while it answers: look at its log with `hyper logs`, then run again." }] satisfies ReadonlyArray<Exclusion>
})

export const openPool = (place: Place) => Effect.flatMap(Ledger, (ledger) => Effect.mapError(ledger.openEscrow(termsOf(place)), failure))

/** A failed or cancelled run still pays for the work that was done; nothing measured: all of it returns. */
export const closePool = (place: Place) => Effect.flatMap(Ledger, (ledger) => Effect.mapError(ledger.settle(termsOf(place)), failure))

export const settlePool = Effect.fn("rewards.settlePool")(function*(place: Place, work: { readonly jobId: string; readonly deviceClass: string; readonly endpoint: string | undefined }) {
  const ledger = yield* Ledger
  const progress = yield* Progress
  const settlement = yield* Effect.mapError(
    ledger.settle({ ...termsOf(place), deviceClasses: { [work.jobId]: work.deviceClass }, exclusions: yield* unhealthy(work.endpoint) }),
    failure
  )
  yield* progress.log(`Settled ${settlement.pool} under ${settlement.policy}: ${formatExact(BigInt(settlement.accruedUnits))} to ${settlement.accruals.filter(({ units }) => units !== "0").length} node(s), ${formatExact(BigInt(settlement.returnedUnits))} returned`)
  return settlement
})
