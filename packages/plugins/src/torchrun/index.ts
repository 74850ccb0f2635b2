/** `p.train(torchrun({ method: "lora" }), { model, shards })`: fine-tunes on this machine, one process a slot, confined. */
import { use } from "@hypernode/engine/plugin/use"

export interface LoraOptions {
  /** 1 to 256; default 8 */
  readonly rank?: number
  /** default 16 */
  readonly alpha?: number
  /** 0 to 0.9; default 0 */
  readonly dropout?: number
  /** names of modules, or "all-linear" (default) */
  readonly targets?: "all-linear" | ReadonlyArray<string>
}

export interface TorchrunOptions {
  /** all weights, or an adapter (default) */
  readonly method?: "full" | "lora"
  /** passes over the data, may be a fraction; default 1 */
  readonly epochs?: number
  /** an end before the epochs are over, in optimizer steps */
  readonly maxSteps?: number
  /** learning rate; default 2e-4 for "lora", 2e-5 for "full" */
  readonly lr?: number
  /** rows a process and micro-batch; default 8 */
  readonly batchSize?: number
  /** micro-batches a step; default 1 */
  readonly gradientAccumulation?: number
  /** tokens; longer rows are cut; default 512 */
  readonly sequenceLength?: number
  /** optimizer steps; default 0 */
  readonly warmupSteps?: number
  /** default "linear" */
  readonly schedule?: "constant" | "linear" | "cosine"
  /** default 0 */
  readonly weightDecay?: number
  /** largest gradient norm; 0 for none; default 1 */
  readonly gradClip?: number
  /** default 0 */
  readonly seed?: number
  readonly lora?: LoraOptions
  /** share of each slot's rows that is held out to measure, 0 (default) to 0.5 */
  readonly evalFraction?: number
  /** optimizer steps; without it, at each checkpoint */
  readonly evalEvery?: number
  /** optimizer steps; default 100. The last step is always one. */
  readonly checkpointEvery?: number
  /** newest so many are kept and handed on; default 3 */
  readonly keepCheckpoints?: number
  /** "required" (default) refuses where no sandbox can be made; "auto" takes the strongest there is, down to none */
  readonly sandbox?: "required" | "auto" | "none"
  /** default "auto": CUDA where there is a GPU */
  readonly device?: "auto" | "cpu" | "cuda"
}

export const torchrun = (options: TorchrunOptions = {}) => use("train", { id: "torchrun", specifier: "@hypernode/plugins/torchrun" }, options)
