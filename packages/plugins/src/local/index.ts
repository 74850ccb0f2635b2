/** `p.select(local({ model, dataset }))`: a model directory and a private data-set file on this machine. */
import { use } from "@hypernode/engine/plugin/use"

export interface LocalOptions {
  /** directory with config.json, tokenizer and *.safetensors; relative to the pipeline file's directory */
  readonly model?: string
  /** JSONL file, one row a line; it is never copied, later stages read it where it lies */
  readonly dataset?: string
  /** `chat`: {"messages": [...]}; `text`: {"text": "..."}; `auto` (default): by the first row */
  readonly format?: "auto" | "chat" | "text"
}

export const local = (options: LocalOptions) => use("select", { id: "local", specifier: "@hypernode/plugins/local" }, options)
