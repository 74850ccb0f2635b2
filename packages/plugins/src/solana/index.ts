/**
 * Pays for measured work in HYPER as an SPL token. It accrues in the home's ledger as `ledger` does; what has outlived its challenge window
 * is paid by the daemon to the wallet that the node registered (`hyper rewards address`), as the operator's `solana.json` allows.
 */
import { use } from "@hypernode/engine/plugin/use"

export interface SolanaOptions {
  /** `"100 HYPER"`, `"0.5 HYPER"` */
  readonly pool: string
  /** default `work-v1`: device time, weighted by class */
  readonly policy?: "work-v1" | "hypernode-v1"
  /** how long accrued amounts stay locked before they are paid: `"24 h"` (default), `"30 min"`, `"7 d"` */
  readonly challengeWindow?: string
}

export const solana = (options: SolanaOptions) => use("reward", { id: "solana", specifier: "@hypernode/plugins/solana" }, options)
