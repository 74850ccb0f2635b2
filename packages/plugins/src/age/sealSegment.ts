/** Seals one segment, and counts its tokens where a tokenizer is given. Runs in a worker thread for large data sets, in place for small ones. */
import { readFile } from "node:fs/promises"
import { wipe } from "./Slots.ts"
import type { TokenizerFiles } from "./tokenizerFiles.ts"

export interface SealJob {
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly recipients: ReadonlyArray<string>
  readonly tokenizer: TokenizerFiles | undefined
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

/** `seal` says where the sealed bytes go. The plaintext is overwritten once it is sealed. */
export const sealSegment = async <A>({ bytes, recipients, tokenizer }: SealJob, seal: (bytes: Uint8Array, recipients: ReadonlyArray<string>) => A): Promise<{ readonly stored: A; readonly tokens: number | undefined }> => {
  try {
    const tokens = tokenizer === undefined ? undefined : tokensOf(bytes, await counterFor(tokenizer))
    return { stored: seal(bytes, recipients), tokens }
  } finally {
    wipe(bytes)
  }
}
