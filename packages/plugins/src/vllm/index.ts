/** `p.serve(vllm(), { packaged })`: vLLM, installed by you, supervised on this machine behind the gateway. */
import { use } from "@hypernode/engine/plugin/use"

export interface VllmOptions {
  /** model name that callers send; default: the package's name */
  readonly name?: string
  /**
   * A loopback port for vLLM itself, which anyone on this machine can then reach without a key. Default: none; it listens on a Unix
   * socket that only this user can open.
   */
  readonly port?: number
  /** `auto` (default): a GPU, refused where there is none; `cpu`: a build of vLLM for CPUs */
  readonly device?: "auto" | "cpu"
  /** precision of the weights (default `auto`: what the model was saved in) */
  readonly dtype?: "auto" | "float16" | "bfloat16" | "float32"
  /** tokens of prompt and answer together; default: what the model was made for. Less needs less memory. */
  readonly maxModelLen?: number
  /** GPUs that share the model (default 1) */
  readonly tensorParallel?: number
  /** share of each GPU's memory that vLLM takes, above 0 and at most 1 (default: vLLM's own, 0.9) */
  readonly gpuMemoryUtilization?: number
  /** requests computed at the same time; default: vLLM's own */
  readonly maxSequences?: number
  /** true: no compilation and no CUDA graphs; starts sooner, answers slower */
  readonly eager?: boolean
}

export const vllm = (options: VllmOptions = {}) => use("serve", { id: "vllm", specifier: "@hypernode/plugins/vllm" }, options)
