/** Seals one segment, and counts its tokens where a tokenizer is given. Runs in a worker thread for large data sets, in place for small ones. */
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import type { Digest } from "@hypernode/engine/artifact/Digest"
import { sealFileInto } from "@hypernode/engine/keys/age/File"
import type { TokenizerFiles } from "./tokenizerFiles.ts"

/** Segments differ by a row or so; memory in whole steps fits the next one too. */
const GRAIN_BYTES = 1 << 20
const ZERO = Buffer.alloc(1)

export interface SealJob {
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly recipients: ReadonlyArray<string>
  readonly tokenizer: TokenizerFiles | undefined
  /** where the file goes if it fits: an earlier one's memory */
  readonly target?: SharedArrayBuffer
}

export interface SealedBytes {
  readonly file: Uint8Array<SharedArrayBuffer>
  /** of `file`, taken here where it is still in the processor's cache and off the main thread */
  readonly digest: Digest
  /** of the rows' text: message contents or `text`, without what a chat template adds */
  readonly tokens: number | undefined
}

type Count = (text: string) => number

let counter: { readonly path: string; readonly count: Count } | undefined

const counterFor = async ({ config, tokenizer }: TokenizerFiles): Promise<Count> => {
  if (counter?.path === tokenizer) return counter.count
  const { Tokenizer } = await import("@huggingface/tokenizers")
  const loaded = new Tokenizer(JSON.parse(await readFile(tokenizer, "utf8")), config === undefined ? {} : JSON.parse(await readFile(config, "utf8")))
  const count: Count = (text) => loaded.encode(text, { add_special_tokens: false }).ids.length
  counter = { path: tokenizer, count }
  return count
}

const tokensOf = (bytes: Uint8Array<SharedArrayBuffer>, count: Count): number => {
  let tokens = 0
  for (const line of Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8").split("\n")) {
    if (line === "") continue
    const row = JSON.parse(line) as { readonly text?: unknown; readonly messages?: ReadonlyArray<{ readonly content?: unknown }> }
    if (typeof row.text === "string") tokens += count(row.text)
    for (const message of row.messages ?? []) if (typeof message.content === "string") tokens += count(message.content)
  }
  return tokens
}

/** The plaintext is overwritten once it is sealed. */
export const sealSegment = async ({ bytes, recipients, target, tokenizer }: SealJob): Promise<SealedBytes> => {
  try {
    const tokens = tokenizer === undefined ? undefined : tokensOf(bytes, await counterFor(tokenizer))
    const memory = (size: number) => Buffer.from(target !== undefined && target.byteLength >= size ? target : new SharedArrayBuffer(Math.ceil(size / GRAIN_BYTES) * GRAIN_BYTES), 0, size)
    const file = sealFileInto(memory, bytes, recipients)
    // By hand, as the module of digests would load effect into every thread.
    return { file, digest: `sha256:${createHash("sha256").update(file).digest("hex")}` as Digest, tokens }
  } finally {
    // With a number V8 clears shared memory byte by byte, at five times the cost.
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).fill(ZERO)
  }
}
