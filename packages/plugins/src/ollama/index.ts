/**
 * `p.serve(ollama(), { packaged })`: the fine-tuned model is created in your Ollama and served by it behind the gateway.
 * `p.select(ollamaModel({ model: "llama3.2:1b" }))`: a model of Ollama's, for serving as it is: GGUF weights cannot be trained further.
 */
import { use } from "@hypernode/engine/plugin/use"

export interface OllamaModelOptions {
  /** as `ollama pull` takes it: `llama3.2:1b`, `hf.co/<org>/<name>` */
  readonly model: string
  /** default true: what Ollama has not got is pulled; false: it is an error */
  readonly pull?: boolean
  /** of an Ollama on this machine; default: OLLAMA_HOST, else http://127.0.0.1:11434 */
  readonly host?: string
}

export interface OllamaOptions {
  /** that callers send, and that `ollama run` knows it by: lower-case; default: the package's name */
  readonly name?: string
  /** of an Ollama on this machine; default: OLLAMA_HOST, else http://127.0.0.1:11434 */
  readonly host?: string
  /** how a conversation is written, in Ollama's template language; default: derived from the model's own chat template */
  readonly template?: string
  /** smaller weights at some loss: `q8_0`, `q4_K_M`, `q4_K_S`; default: none (16-bit) */
  readonly quantize?: "q8_0" | "q4_K_M" | "q4_K_S"
  /** tokens of prompt and answer together; default: what the model was made for, at most 8192 */
  readonly context?: number
}

const plugin = { id: "ollama", specifier: "@hypernode/plugins/ollama" }

export const ollamaModel = (options: OllamaModelOptions) => use("select", plugin, options)

export const ollama = (options: OllamaOptions = {}) => use("serve", plugin, options)
