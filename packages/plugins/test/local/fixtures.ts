/** A minimal directory that passes as a model, and rows. */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"

/** One F32 tensor of 2 x 3. */
export const safetensors = (): Buffer => {
  const header = Buffer.from(JSON.stringify({ __metadata__: { format: "pt" }, w: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] } }))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([prefix, header, Buffer.alloc(24)])
}

export const writeModel = async (directory: string, without: ReadonlyArray<string> = []): Promise<void> => {
  await mkdir(directory, { recursive: true })
  const files: Readonly<Record<string, Buffer | string>> = {
    "config.json": JSON.stringify({ architectures: ["LlamaForCausalLM"], model_type: "llama" }),
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "model.safetensors": safetensors(),
    "README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n",
    "optimizer.pt": "left behind",
    "train.py": "left behind"
  }
  for (const [name, bytes] of Object.entries(files)) if (!without.includes(name)) await writeFile(join(directory, name), bytes)
}

export const chatRow = (i: number): string => JSON.stringify({ messages: [{ role: "user", content: `question ${i}` }, { role: "assistant", content: `answer ${i}` }] })
