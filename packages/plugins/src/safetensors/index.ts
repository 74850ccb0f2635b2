/** Chooses a checkpoint, verifies it, merges an adapter into its base, and exports it as safetensors. */
import { use } from "@hypernode/engine/plugin/use"

export interface SafetensorsOptions {
  /** `best` (default): lowest evaluation loss, lowest training loss where nothing was evaluated; `last`: the latest step */
  readonly choose?: "best" | "last"
  /** false: an adapter stays an adapter beside its base. Default true. Full fine-tuning has nothing to merge. */
  readonly merge?: boolean
}

export const safetensors = (options: SafetensorsOptions = {}) => use("checkpoint", { id: "safetensors", specifier: "@hypernode/plugins/safetensors" }, options)
