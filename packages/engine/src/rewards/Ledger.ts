/** Double-entry ledger in integer base units (1 HYPER = 10^9 base units). Invariants are checked by the database. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Settlement } from "../stage/values.ts"
import type { Exclusion } from "./Evidence.ts"

export class LedgerError extends Schema.TaggedError<LedgerError>()("LedgerError", { message: Schema.String, remedy: Schema.optionalKey(Schema.String) }) {}

export interface PoolTerms {
  readonly tenant: string
  readonly runId: string
  readonly stepId: string
  /** base units */
  readonly units: bigint
  readonly policy: string
  /** milliseconds until accrued units unlock */
  readonly challengeWindow: number
  /** for `settle`: device class by job, as the trainer reported it; a job that is not named counts as `unknown` */
  readonly deviceClasses?: Readonly<Record<string, string>>
  /** for `settle`: work that does not count although it is well signed */
  readonly exclusions?: ReadonlyArray<Exclusion>
}

export interface Explanation {
  /** "You earned 30.643 of 100 HYPER: 2,566 of 8,374 verified GPU seconds" */
  readonly sentence: string
  readonly node: string
  readonly terms: ReadonlyArray<{ readonly name: string; readonly weight: number; readonly mine: number; readonly all: number; readonly units: string }>
  readonly samples: { readonly accepted: number; readonly rejected: ReadonlyArray<{ readonly reason: string; readonly remedy: string; readonly count: number }> }
  readonly batches: ReadonlyArray<string>
  readonly unlocksAt: number
}

export class Ledger extends Context.Service<
  Ledger,
  {
    /** Moves the pool from the tenant's account into escrow. Effect key (run, step): done once. */
    readonly openEscrow: (terms: PoolTerms) => Effect.Effect<void, LedgerError>
    /** Accrues measured work, returns the rest to the owner. Effect key (run, step): done once, whatever the run's outcome. */
    readonly settle: (terms: PoolTerms) => Effect.Effect<Settlement, LedgerError>
    readonly explain: (runId: string, node?: string) => Effect.Effect<ReadonlyArray<Explanation>, LedgerError>
    readonly balances: (tenant: string) => Effect.Effect<ReadonlyArray<{ readonly account: string; readonly units: string }>, LedgerError>
    readonly entries: (runId: string) => Effect.Effect<ReadonlyArray<{ readonly id: number; readonly at: number; readonly debit: string; readonly credit: string; readonly units: string; readonly memo: string }>, LedgerError>
  }
>()("@hypernode/engine/rewards/Ledger") {}
