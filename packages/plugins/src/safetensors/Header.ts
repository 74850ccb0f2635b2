/**
 * Strict reader of safetensors headers (format: huggingface/safetensors README, "Format"): 8 bytes little-endian header length, a JSON
 * object, then tensor bytes with no gap and no overlap. Refuses what a lenient reader could be misled by. Reads no tensor data.
 */
import { open } from "node:fs/promises"
import { duplicateKey } from "./duplicateKey.ts"

/** The reference implementation's own limit. */
export const MAX_HEADER_BYTES = 100_000_000

/** Bits an element, by dtype name. */
const bitsOf: Readonly<Record<string, number>> = {
  BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
  F4: 4, F6_E2M3: 6, F6_E3M2: 6,
  U16: 16, I16: 16, F16: 16, BF16: 16,
  U32: 32, I32: 32, F32: 32,
  U64: 64, I64: 64, F64: 64, C64: 64
}

export interface Tensor {
  readonly name: string
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  /** bytes from the end of the header */
  readonly begin: number
  readonly end: number
}

export interface Header {
  /** in the order of their bytes */
  readonly tensors: ReadonlyArray<Tensor>
  readonly metadata: Readonly<Record<string, string>>
  readonly headerBytes: number
}

/** The file is not a well-formed safetensors file; `message` says where. */
export class HeaderFault extends Error {
  override readonly name = "HeaderFault"
}

const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value)

/** Length of the JSON that follows the first 8 bytes. Throws HeaderFault. */
export const headerLength = (prefix: Uint8Array, fileBytes: number): number => {
  if (fileBytes < 8 || prefix.length < 8) throw new HeaderFault(`the file has ${fileBytes} bytes, too few for a header`)
  const length = Buffer.from(prefix.buffer, prefix.byteOffset, 8).readBigUInt64LE()
  if (length > BigInt(MAX_HEADER_BYTES)) throw new HeaderFault(`byte 0: the header claims ${length} bytes; at most ${MAX_HEADER_BYTES} are read`)
  if (8n + length > BigInt(fileBytes)) throw new HeaderFault(`byte 0: the header claims ${length} bytes, the file has ${fileBytes}`)
  return Number(length)
}

const tensorOf = (name: string, value: unknown): Tensor => {
  const at = `tensor ${JSON.stringify(name)}`
  if (!isRecord(value)) throw new HeaderFault(`${at}: not an object`)
  const extra = Object.keys(value).find((key) => key !== "dtype" && key !== "shape" && key !== "data_offsets")
  if (extra !== undefined) throw new HeaderFault(`${at}: unknown field ${JSON.stringify(extra)}`)
  const { data_offsets: offsets, dtype, shape } = value
  const bits = typeof dtype === "string" && Object.hasOwn(bitsOf, dtype) ? bitsOf[dtype] : undefined
  if (typeof dtype !== "string" || bits === undefined) throw new HeaderFault(`${at}: unknown dtype ${JSON.stringify(dtype)}`)
  if (!Array.isArray(shape) || !shape.every(isIndex)) throw new HeaderFault(`${at}: shape must be a list of non-negative integers`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isIndex)) throw new HeaderFault(`${at}: data_offsets must be two non-negative integers`)
  const [begin, end] = offsets as [number, number]
  if (end < begin) throw new HeaderFault(`${at}: ends at ${end}, before it begins at ${begin}`)
  const total = shape.reduce((product, n) => product * BigInt(n), 1n) * BigInt(bits)
  if (total % 8n !== 0n || BigInt(end - begin) * 8n !== total) throw new HeaderFault(`${at}: ${dtype} of shape [${shape.join(", ")}] takes ${total / 8n} bytes, data_offsets give ${end - begin}`)
  return { name, dtype, shape, begin, end }
}

/** `json` is the header's text, `dataBytes` what follows it in the file. Throws HeaderFault. */
export const parseHeader = (json: Uint8Array, dataBytes: number): Header => {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json)
    value = JSON.parse(text)
  } catch {
    // the parser's own message quotes the input: not repeated here
    throw new HeaderFault(`bytes 8 to ${8 + json.length}: the header is not UTF-8 JSON`)
  }
  if (text[0] !== "{" || !isRecord(value)) throw new HeaderFault("byte 8: the header must begin with {")
  const twice = duplicateKey(text)
  if (twice !== undefined) throw new HeaderFault(`the header has the key ${JSON.stringify(twice)} twice`)
  const { __metadata__: metadata = {}, ...entries } = value
  if (!isRecord(metadata) || !Object.values(metadata).every((v) => typeof v === "string")) throw new HeaderFault("__metadata__ must map strings to strings")
  const tensors = Object.entries(entries).map(([name, entry]) => tensorOf(name, entry)).sort((a, b) => a.begin - b.begin || a.end - b.end)
  let position = 0
  for (const tensor of tensors) {
    if (tensor.begin < position) throw new HeaderFault(`tensor ${JSON.stringify(tensor.name)}: begins at ${tensor.begin}, inside the tensor that ends at ${position}`)
    if (tensor.begin > position) throw new HeaderFault(`tensor ${JSON.stringify(tensor.name)}: begins at ${tensor.begin}, ${tensor.begin - position} bytes before it belong to no tensor`)
    position = tensor.end
  }
  if (position !== dataBytes) throw new HeaderFault(`the tensors take ${position} bytes, the file holds ${dataBytes} after its header`)
  return { tensors, metadata: metadata as Readonly<Record<string, string>>, headerBytes: 8 + json.length }
}

/** Opens, reads the header only, closes. Rejects with HeaderFault, or with the file system's error. */
export const readHeader = async (path: string): Promise<Header> => {
  const file = await open(path, "r")
  try {
    const { size } = await file.stat()
    const prefix = Buffer.alloc(8)
    const { bytesRead } = await file.read(prefix, 0, 8, 0)
    const length = headerLength(prefix.subarray(0, bytesRead), size)
    const json = Buffer.alloc(length)
    for (let at = 0; at < length;) {
      const chunk = await file.read(json, at, length - at, 8 + at)
      if (chunk.bytesRead === 0) throw new HeaderFault(`byte ${8 + at}: the file ended inside its header`)
      at += chunk.bytesRead
    }
    return parseHeader(json, size - 8 - length)
  } finally {
    await file.close()
  }
}
