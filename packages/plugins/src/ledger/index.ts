/** Pays for measured work out of a pool: escrow when the run starts, settlement when it ends, in the home's double-entry ledger. No chain. */
import { use } from "@hypernode/engine/plugin/use"

export interface LedgerOptions {
  /** `"100 HYPER"`, `"0.5 HYPER"` */
  readonly pool: string
  /** default `work-v1`: device time, weighted by class */
  readonly policy?: "work-v1" | "hypernode-v1"
  /** how long accrued amounts stay locked: `"24 h"` (default), `"30 min"`, `"7 d"` */
  readonly challengeWindow?: string
}

export const ledger = (options: LedgerOptions) => use("reward", { id: "ledger", specifier: "@hypernode/plugins/ledger" }, options)
