/** What Ollama refuses with, and what that means for the run. The sentences are Ollama's own (driven: 0.6.5). */
import { StageError } from "@hypernode/engine/stage/StageError"

const UNREACHABLE = new Set(["ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT", "EPIPE"])

const codeOf = (cause: unknown): string | undefined => {
  const error = cause as { readonly code?: unknown; readonly cause?: unknown; readonly name?: string } | undefined
  if (typeof error?.code === "string") return error.code
  if (error?.name === "TimeoutError") return "ETIMEDOUT"
  return error?.cause === undefined ? undefined : codeOf(error.cause)
}

export interface Asked {
  readonly host: string
  readonly model: string
  readonly doing: "look" | "pull" | "create" | "load"
}

const LESS = "Free some memory (`ollama ps` and `hyper endpoints` list what is loaded), or serve a smaller model: ollama({ quantize: \"q4_K_M\" }), ollama({ context: 2048 })."

export const ollamaFailure = ({ doing, host, model }: Asked, cause: unknown): StageError => {
  const message = cause instanceof Error ? cause.message : String(cause)
  const code = codeOf(cause)
  if ((code !== undefined && UNREACHABLE.has(code)) || message === "fetch failed") {
    return new StageError({ reason: "Unavailable", message: `Ollama cannot be reached at ${host} (${code ?? message}).`, remedy: "Start it (`ollama serve`, or its service), or say where it is with `host` or OLLAMA_HOST." })
  }
  const status = (cause as { readonly status_code?: number }).status_code
  if (/no space left|disk is full|ENOSPC/i.test(message)) return new StageError({ reason: "OutOfSpace", message: `Ollama's disk is full: ${message}`, remedy: "Free some space where OLLAMA_MODELS lies; `ollama list` and `ollama rm` help." })
  if (/requires more system memory|out of memory|cudaMalloc failed|signal: killed|unable to allocate/i.test(message)) {
    return new StageError({ reason: "OutOfSpace", message: `Ollama has not enough memory for ${model}: ${message}`, remedy: LESS })
  }
  if (doing === "pull") {
    if (/file does not exist|not found|404/.test(message)) return new StageError({ reason: "InvalidInput", message: `There is no model ${model} to pull: ${message}`, remedy: "Check its name and tag: https://ollama.com/library lists them; `ollama list` shows what is here." })
    if (/unauthorized|401|403|access denied/i.test(message)) return new StageError({ reason: "Denied", message: `The registry does not give ${model} to this Ollama: ${message}`, remedy: "A private model needs this Ollama's key at the registry: see `ollama signin`." })
    if (/dial tcp|lookup|connect|timeout|EOF|TLS|max retries/i.test(message)) return new StageError({ reason: "Unavailable", message: `Ollama cannot reach the registry for ${model}: ${message}`, remedy: "Check the network of the machine that Ollama runs on, and its HTTPS_PROXY. What has come is kept." })
  }
  if (doing === "create" && /unsupported architecture|unknown type|unknown model|not supported|could not find/i.test(message)) {
    return new StageError({ reason: "InvalidInput", message: `Ollama cannot convert ${model}: ${message}`, remedy: "Serve it with transformers() or vllm(), or update Ollama. An adapter is merged into its base with safetensors({ merge: true })." })
  }
  if (doing === "create" && /template/i.test(message)) return new StageError({ reason: "InvalidInput", message: `Ollama does not take the template of ${model}: ${message}`, remedy: "Its language is that of Go's text/template; see https://github.com/ollama/ollama/blob/main/docs/template.md" })
  if (status === 404 || /not found/.test(message)) return new StageError({ reason: "InvalidInput", message: `Ollama at ${host} has no model ${model}.`, remedy: "`ollama list` shows what it has." })
  return new StageError({ reason: "JobFailed", message: `Ollama failed with ${model}: ${message.slice(0, 500)}`, remedy: "Its own log says more (`journalctl -u ollama`, or where `ollama serve` writes)." })
}
