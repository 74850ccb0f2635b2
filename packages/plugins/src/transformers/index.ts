/** `p.serve(transformers(), { packaged })`: a supervised model server on this machine, behind the gateway. */
import { use } from "@hypernode/engine/plugin/use"

export interface TransformersOptions {
  /** model name that callers send; default: the package's name */
  readonly name?: string
  /**
   * A loopback port for the model server itself, which anyone on this machine can then reach without a key. Default: none; the server
   * listens on a Unix socket that only this user can open.
   */
  readonly port?: number
  /** most tokens of one answer (default 1024) */
  readonly maxTokens?: number
  /** `auto` (default: CUDA, then Apple's GPU, then the CPU), `cpu`, `cuda`, `cuda:<n>`, `mps` */
  readonly device?: string
  /** a question that base and fine-tuned model are asked when the endpoint is up; both answers are shown in the run */
  readonly probe?: string
}

export const transformers = (options: TransformersOptions = {}) => use("serve", { id: "transformers", specifier: "@hypernode/plugins/transformers" }, options)
