/** `p.select(hfHub({ model: "org/name", dataset: "./rows.jsonl", token: secret("HF_TOKEN") }))`: a model, a data-set file or both, from the Hugging Face Hub or one that speaks like it. */
import type { SecretRef } from "@hypernode/engine/capability/Secrets"
import { use } from "@hypernode/engine/plugin/use"

export interface HfHubOptions {
  /** `org/name` */
  readonly model?: string
  /** branch, tag or commit of the model; default `main`. Pinned to the commit it names when the step runs; a commit needs no network once it is in the cache. */
  readonly revision?: string
  /**
   * A JSONL file on this machine (relative to the pipeline file's directory; never copied), or a file of a public data-set repository:
   * `hf://datasets/<org>/<name>[@<revision>]/<path>.jsonl`, which is kept in the cache.
   */
  readonly dataset?: string
  /** `chat`: {"messages": [...]}; `text`: {"text": "..."}; `auto` (default): by the first row */
  readonly format?: "auto" | "chat" | "text"
  /** for private and gated repositories: `secret("HF_TOKEN")` */
  readonly token?: SecretRef
  /** default: HF_ENDPOINT, else https://huggingface.co */
  readonly endpoint?: string
}

export const hfHub = (options: HfHubOptions) => use("select", { id: "hf-hub", specifier: "@hypernode/plugins/hf-hub" }, options)
