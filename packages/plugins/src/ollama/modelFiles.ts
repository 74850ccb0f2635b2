/** What Ollama is given of a model: its files as they are, but for what its converter reads otherwise than they were written. */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"

type Json = Readonly<Record<string, unknown>>

/** Its converter takes these; a README or another copy of the tokenizer is nothing to it. */
const WANTED = /^(config\.json|generation_config\.json|tokenizer\.json|tokenizer\.model|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|model\.safetensors\.index\.json|[^/]+\.safetensors|adapter_config\.json)$/

export const wantedFiles = async (directory: string): Promise<ReadonlyArray<string>> => (await readdir(directory)).filter((name) => WANTED.test(name)).toSorted()

/**
 * transformers 5 keeps the rotary settings in `rope_parameters`. Ollama reads `rope_theta` and `rope_scaling`, and takes 10000 without a
 * word where there is none: a model with another base would answer nonsense.
 */
export const olderConfig = (config: Json): Json => {
  const rope = config["rope_parameters"] as Json | undefined | null
  if (rope === undefined || rope === null || typeof rope !== "object" || "rope_theta" in config) return config
  const { rope_theta, ...scaling } = rope
  const scaled = scaling["rope_type"] !== undefined && scaling["rope_type"] !== "default"
  return { ...config, ...(rope_theta === undefined ? {} : { rope_theta }), ...(scaled && !("rope_scaling" in config) ? { rope_scaling: scaling } : {}) }
}

/** Where the template writes the first token itself, Ollama must not put another before it. */
export const tokenizerConfig = (config: Json, templated: boolean): Json => (templated ? { ...config, add_bos_token: false } : config)

/** The files that differ, as bytes; all others are sent as they lie. */
export const rewritten = async (directory: string, templated: boolean): Promise<Readonly<Record<string, Buffer>>> => {
  const changed: Record<string, Buffer> = {}
  for (const [name, change] of [["config.json", olderConfig], ["tokenizer_config.json", (config: Json) => tokenizerConfig(config, templated)]] as const) {
    const text = await readFile(join(directory, name), "utf8").catch(() => undefined)
    if (text === undefined) continue
    const before = JSON.parse(text) as Json
    const after = change(before)
    if (after !== before) changed[name] = Buffer.from(JSON.stringify(after))
  }
  return changed
}

/** What the model was made for, in tokens; undefined where its configuration does not say. */
export const contextOf = async (directory: string): Promise<number | undefined> => {
  const { max_position_embeddings: most } = JSON.parse(await readFile(join(directory, "config.json"), "utf8")) as { readonly max_position_embeddings?: unknown }
  return typeof most === "number" && most > 0 ? most : undefined
}
