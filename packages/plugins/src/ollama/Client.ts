/** Ollama's words: its HTTP API, by the vendor's client where that has a call. Rejects with the client's ResponseError, or the system's error where nothing answers. */
import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { request } from "node:http"
import type { CreateRequest, Ollama, ProgressResponse } from "ollama"
import { call } from "../serving/Client.ts"

/** Loading a large model from a slow disk. */
const LOAD_MILLIS = 900_000

export interface Listed {
  /** with its tag */
  readonly name: string
  /** of its manifest, hex */
  readonly digest: string
}

export interface Shown {
  readonly family: string
  readonly parameters: number
  readonly quantization: string
  readonly license?: string
  readonly template: string
  /** false: for embeddings only */
  readonly completes: boolean
}

export interface Creation {
  readonly model: string
  /** name in the model's directory to `sha256:<hex>` of a blob that Ollama has */
  readonly files: Readonly<Record<string, string>>
  readonly adapters?: Readonly<Record<string, string>>
  readonly template?: string
  readonly quantize?: string
  readonly parameters: Readonly<Record<string, unknown>>
}

type OnProgress = (progress: { readonly status: string; readonly done?: number; readonly total?: number }) => void

export class OllamaClient {
  readonly host: string
  #sdk: Promise<Ollama> | undefined

  constructor(host: string) {
    this.host = host
  }

  get #client(): Promise<Ollama> {
    return (this.#sdk ??= import("ollama").then(({ Ollama }) => new Ollama({ host: this.host })))
  }

  async list(): Promise<ReadonlyArray<Listed>> {
    return (await (await this.#client).list()).models.map(({ digest, name }) => ({ name, digest }))
  }

  async show(model: string): Promise<Shown> {
    const { capabilities, details, model_info, template } = await (await this.#client).show({ model })
    // typed as a Map, sent as an object
    const info = model_info as unknown as Readonly<Record<string, unknown>>
    const license = info["general.license"]
    return {
      family: details.family,
      parameters: Number(info["general.parameter_count"] ?? 0),
      quantization: details.quantization_level,
      template,
      // older servers do not say
      completes: capabilities === undefined || capabilities.includes("completion"),
      ...(typeof license === "string" ? { license } : {})
    }
  }

  async #followed(stream: AsyncIterable<ProgressResponse> & { readonly abort: () => void }, signal: AbortSignal, onProgress: OnProgress): Promise<void> {
    const stop = () => stream.abort()
    signal.addEventListener("abort", stop)
    try {
      for await (const { completed, status, total } of stream) onProgress({ status, ...(completed === undefined ? {} : { done: completed }), ...(total === undefined ? {} : { total }) })
    } finally {
      signal.removeEventListener("abort", stop)
    }
  }

  /** Ollama keeps what has come: a later pull goes on from there. `insecure`: a registry without TLS. */
  async pull(model: string, insecure: boolean, signal: AbortSignal, onProgress: OnProgress): Promise<void> {
    await this.#followed(await (await this.#client).pull({ model: insecure ? `http://${model}` : model, insecure, stream: true }), signal, onProgress)
  }

  async hasBlob(digest: string): Promise<boolean> {
    const response = await fetch(`${this.host}/api/blobs/${digest}`, { method: "HEAD", signal: AbortSignal.timeout(30_000) })
    return response.status === 200
  }

  /** Sends a file's bytes; Ollama checks them against the digest. */
  async putBlob(digest: string, path: string, signal: AbortSignal): Promise<void> {
    const { size } = await stat(path)
    const { status, text } = await new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
      const url = new URL(this.host)
      const outgoing = request({ hostname: url.hostname.replace(/^\[|\]$/g, ""), port: url.port, method: "POST", path: `/api/blobs/${digest}`, headers: { "content-length": size }, signal }, (response) => {
        let answer = ""
        response.setEncoding("utf8")
        response.on("data", (part: string) => (answer += part))
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: answer }))
        response.on("error", reject)
      })
      outgoing.on("error", reject)
      createReadStream(path).on("error", (error) => outgoing.destroy(error)).pipe(outgoing)
    })
    if (status !== 200 && status !== 201) throw new Error(text.slice(0, 500) || `HTTP ${status}`)
  }

  async create(creation: Creation, signal: AbortSignal, onProgress: OnProgress): Promise<void> {
    // the client's type lacks `files`, which it passes on
    await this.#followed(await (await this.#client).create({ ...creation, stream: true } as CreateRequest & { readonly stream: true }), signal, onProgress)
  }

  async copy(source: string, destination: string): Promise<void> {
    await (await this.#client).copy({ source, destination })
  }

  async delete(model: string): Promise<void> {
    await (await this.#client).delete({ model })
  }

  /** Into memory, where it stays for `keepAlive`; "0" takes it out. Not by the vendor's client, which gives up after five minutes. */
  async load(model: string, keepAlive: string | number): Promise<void> {
    const { status, text } = await call(this.host, "POST", "/api/generate", { model, keep_alive: keepAlive, stream: false }, LOAD_MILLIS)
    if (status === 200) return
    let message = text
    try {
      message = (JSON.parse(text) as { readonly error: string }).error
    } catch {
      // as it is, then
    }
    throw Object.assign(new Error(message.slice(0, 500)), { status_code: status })
  }

  /** Where a loaded model lies: undefined where it is not loaded. */
  async device(model: string): Promise<string | undefined> {
    const loaded = (await (await this.#client).ps()).models.find(({ name }) => name === model)
    if (loaded === undefined) return undefined
    return loaded.size_vram === 0 ? "CPU" : loaded.size_vram >= loaded.size ? "GPU" : "GPU and CPU"
  }
}
