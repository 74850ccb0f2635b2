/** A model directory's files, as small or large as wanted, that a reader of safetensors accepts. */
import { randomBytes } from "node:crypto"
import type { Files } from "./pushing.ts"

/** One tensor of `elements` 32-bit numbers. */
export const safetensorsFile = (elements: number): Buffer => {
  const header = Buffer.from(JSON.stringify({ w: { dtype: "F32", shape: [elements], data_offsets: [0, 4 * elements] } }))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([length, header, randomBytes(4 * elements)])
}

export const baseModel = (elements: number): Files => ({
  "config.json": JSON.stringify({ architectures: ["LlamaForCausalLM"], torch_dtype: "float32", salt: randomBytes(8).toString("hex") }),
  "model.safetensors": safetensorsFile(elements),
  "tokenizer.json": "{}",
  "README.md": "---\nlicense: apache-2.0\n---\n# base\n"
})
