/**
 * What makes a directory a model: config.json, a tokenizer, *.safetensors (with their index). Pickled weights are refused, because
 * loading them runs code. Reads configuration and safetensors headers only, no tensor data.
 */
import { promises as fs } from "node:fs"
import { basename, join } from "node:path"

/** `message`: what is wrong, with the file; `remedy`: what to do next. */
export class ModelFault extends Error {
  readonly remedy: string
  constructor(message: string, remedy: string) {
    super(message)
    this.remedy = remedy
  }
}

export interface ModelFiles {
  /** names in the directory, sorted: what belongs into the model's tree */
  readonly files: ReadonlyArray<string>
  readonly architecture: string
  /** elements of all tensors, as stored (tied weights once) */
  readonly parameters: number
  /** bytes of all files */
  readonly bytes: number
  readonly license?: string
}

const EXACT = new Set([
  "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
  "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "chat_template.jinja", "chat_template.json",
  "model.safetensors.index.json", "README.md"
])
const PICKLED = /\.(bin|pt|pth|ckpt|pkl)$/
/** Belongs into a model's tree: for a directory as for a list of files of a hub. */
export const isModelFile = (name: string): boolean => !name.includes("/") && (EXACT.has(name) || name.endsWith(".safetensors") || /^(LICEN[CS]E|NOTICE|USE_POLICY)([._-].*)?$/i.test(name))

const hasTokenizer = (names: ReadonlySet<string>): boolean =>
  ["tokenizer.json", "tokenizer.model", "spiece.model", "vocab.txt"].some((name) => names.has(name)) || (names.has("vocab.json") && names.has("merges.txt"))

const readJson = async (directory: string, name: string): Promise<Readonly<Record<string, unknown>>> => {
  const text = await fs.readFile(join(directory, name), "utf8")
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>
  } catch {
    // said below
  }
  throw new ModelFault(`${name} in ${directory} is not a JSON object.`, "Download or save the model again.")
}

const HEADER_LIMIT = 100_000_000

/** Elements of all tensors of one safetensors file. */
const elements = async (directory: string, name: string): Promise<number> => {
  const broken = (why: string) => new ModelFault(`${name} in ${directory} is not a safetensors file: ${why}.`, "Download or save the model again.")
  const file = await fs.open(join(directory, name), "r")
  try {
    const { size } = await file.stat()
    const prefix = Buffer.alloc(8)
    if ((await file.read(prefix, 0, 8, 0)).bytesRead < 8) throw broken(`it has ${size} bytes`)
    const length = Number(prefix.readBigUInt64LE())
    if (length > HEADER_LIMIT || 8 + length > size) throw broken(`its header claims ${length} bytes, the file has ${size}`)
    const json = Buffer.alloc(length)
    if ((await file.read(json, 0, length, 8)).bytesRead < length) throw broken("it ends inside its header")
    let header: Readonly<Record<string, { readonly shape?: unknown; readonly data_offsets?: unknown }>>
    try {
      header = JSON.parse(json.toString("utf8"))
    } catch {
      throw broken("its header is not JSON")
    }
    let total = 0, end = 0
    for (const [tensor, entry] of Object.entries(header)) {
      if (tensor === "__metadata__") continue
      const { data_offsets: offsets, shape } = entry
      if (!Array.isArray(shape) || !Array.isArray(offsets)) throw broken("a tensor has no shape or no offsets")
      total += shape.reduce((product: number, n: number) => product * n, 1)
      end = Math.max(end, Number(offsets[1]))
    }
    if (8 + length + end !== size) throw broken(`its tensors take ${end} bytes, the file holds ${size - 8 - length} after its header (cut short?)`)
    return total
  } finally {
    await file.close()
  }
}

/** `license:` of the front matter of a model card. */
export const licenseOf = (readme: string): string | undefined => {
  const matter = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1]
  const value = matter === undefined ? undefined : /^license:[ \t]*(\S.*?)[ \t]*$/m.exec(matter)?.[1]
  return value?.replace(/^["']|["']$/g, "")
}

/** Rejects with ModelFault, or with the file system's error for a file that cannot be read. */
export const inspectModel = async (directory: string): Promise<ModelFiles> => {
  const entries = await fs.readdir(directory).catch((error: unknown) => {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown"
    if (code === "ENOENT") throw new ModelFault(`The model directory ${directory} does not exist.`, "Check the path: a relative one starts at the directory of the pipeline file.")
    if (code === "ENOTDIR") throw new ModelFault(`${directory} is not a directory.`, "Name the directory that holds config.json, the tokenizer and *.safetensors.")
    throw error
  })
  const names = new Set(entries)
  const weights = entries.filter((name) => name.endsWith(".safetensors"))
  if (!names.has("config.json")) {
    if (names.has("adapter_config.json")) throw new ModelFault(`${directory} holds an adapter (adapter_config.json), not a model.`, "Name the base model's directory, or merge the adapter into it first.")
    throw new ModelFault(`The model in ${directory} has no config.json.`, "Name the directory that `save_pretrained` wrote.")
  }
  if (!hasTokenizer(names)) throw new ModelFault(`The model in ${directory} has no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt).`, `Save it there: tokenizer.save_pretrained("${basename(directory)}").`)
  if (weights.length === 0) {
    const pickled = entries.filter((name) => PICKLED.test(name))
    if (pickled.length > 0) throw new ModelFault(`The model in ${directory} has pickled weights only (${pickled[0]}): loading those runs code, so they are refused.`, `Convert them: model.save_pretrained("${basename(directory)}", safe_serialization=True).`)
    throw new ModelFault(`The model in ${directory} has no weights (*.safetensors).`, "Download or save the model again, with its weights.")
  }
  const config = await readJson(directory, "config.json")
  const declared = Array.isArray(config["architectures"]) ? config["architectures"][0] : config["model_type"]
  if (typeof declared !== "string") throw new ModelFault(`config.json in ${directory} names no architecture ("architectures" or "model_type").`, "Save the model again with a current version of transformers.")
  if (names.has("model.safetensors.index.json")) {
    const map = (await readJson(directory, "model.safetensors.index.json"))["weight_map"]
    const missing = [...new Set(Object.values((map ?? {}) as Readonly<Record<string, string>>))].filter((name) => !names.has(name)).toSorted()
    if (missing.length > 0) throw new ModelFault(`The model in ${directory} lacks ${missing.join(", ")}, which model.safetensors.index.json names.`, "Download the missing files.")
  }
  let parameters = 0, bytes = 0
  for (const name of weights) parameters += await elements(directory, name)
  const files = entries.filter(isModelFile).toSorted()
  for (const name of files) bytes += (await fs.stat(join(directory, name))).size
  const license = names.has("README.md") ? licenseOf((await fs.readFile(join(directory, "README.md"), "utf8")).slice(0, 65_536)) : undefined
  return { files, architecture: declared, parameters, bytes, ...(license === undefined ? {} : { license }) }
}
