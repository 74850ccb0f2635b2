/** `p.shard(balanced({ parts: 2 }), { sealed, model })`: spreads sealed segments evenly over worker slots. */
import { use } from "@hypernode/engine/plugin/use"

export interface BalancedOptions {
  /** worker slots, one a training process */
  readonly parts: number
}

export const balanced = (options: BalancedOptions) => use("shard", { id: "balanced", specifier: "@hypernode/plugins/balanced" }, options)
