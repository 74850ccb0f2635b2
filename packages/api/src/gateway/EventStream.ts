/**
 * Passes server-sent events through, line by line: our model name in each, usage noted on the way. Only an unfinished line is held
 * back. An event that holds nothing but usage is left out where the caller did not ask for it (we always ask the upstream).
 */
import { StringDecoder } from "node:string_decoder"

export interface Usage {
  promptTokens: number
  completionTokens: number
  estimated: boolean
}

interface Chunk {
  model?: string
  choices?: ReadonlyArray<{ readonly text?: string; readonly delta?: { readonly content?: string | null } }>
  usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null
}

export class EventStream {
  readonly #decoder = new StringDecoder("utf8")
  readonly #model: string
  readonly #upstreamModel: string
  readonly #wantsUsage: boolean
  #rest = ""
  #dropBlank = false
  #reported: Usage | undefined
  #pieces = 0
  finished = false

  constructor(model: string, upstreamModel: string, wantsUsage: boolean) {
    this.#model = model
    this.#upstreamModel = upstreamModel
    this.#wantsUsage = wantsUsage
  }

  /** Chunks with text stand in for tokens where the upstream reports no usage, or was broken off before it could. */
  get usage(): Usage {
    return this.#reported ?? { promptTokens: 0, completionTokens: this.#pieces, estimated: true }
  }

  push(bytes: Buffer): string {
    const text = this.#rest + this.#decoder.write(bytes)
    const end = text.lastIndexOf("\n") + 1
    this.#rest = text.slice(end)
    let out = ""
    for (let start = 0; start < end; ) {
      const stop = text.indexOf("\n", start) + 1
      out += this.#line(text.slice(start, stop))
      start = stop
    }
    return out
  }

  end(): string {
    const rest = this.#rest + this.#decoder.end()
    this.#rest = ""
    return rest === "" ? "" : this.#line(`${rest}\n`)
  }

  #line(line: string): string {
    if (!line.startsWith("data:")) {
      const blank = line === "\n" || line === "\r\n"
      if (blank && this.#dropBlank) {
        this.#dropBlank = false
        return ""
      }
      return line
    }
    const data = line.slice(5).trim()
    if (data === "[DONE]") {
      this.finished = true
      return line
    }
    let chunk: Chunk
    try {
      chunk = JSON.parse(data) as Chunk
    } catch {
      return line
    }
    if (chunk.usage) {
      this.#reported = { promptTokens: chunk.usage.prompt_tokens ?? 0, completionTokens: chunk.usage.completion_tokens ?? 0, estimated: false }
      if (!this.#wantsUsage && chunk.choices?.length === 0) {
        this.#dropBlank = true
        return ""
      }
    }
    if (chunk.choices?.some((choice) => Boolean(choice.text ?? choice.delta?.content))) this.#pieces += 1
    if (chunk.model === undefined) {
      // an error event may name the upstream's path
      return data.includes(this.#upstreamModel) ? `data: ${data.replaceAll(this.#upstreamModel, this.#model)}\n` : line
    }
    chunk.model = this.#model
    return `data: ${JSON.stringify(chunk)}\n`
  }
}
