/** Our model server as files of an image: its Python package and the pins it needs. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { requirements } from "../trainer/Requirements.ts"

const directory = fileURLToPath(new URL("../transformers/python/hyper_serve", import.meta.url)).replace(/\/$/, "")

/** What serving needs of the pins; pyrage opens training data, which a server has none of. */
const NEEDED = new Set(["torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy"])

export const serverRequirements = (): string => `${requirements().pins.filter(({ name }) => NEEDED.has(name)).map(({ name, version }) => `${name}==${version}`).join("\n")}\n`

export const serverFiles = (): ReadonlyArray<{ readonly name: string; readonly content: string }> =>
  readdirSync(directory).filter((name) => name.endsWith(".py")).toSorted().map((name) => ({ name, content: readFileSync(join(directory, name), "utf8") }))

/** Another server, another image. */
export const serverDigest = (): string => createHash("sha256").update(JSON.stringify([serverRequirements(), serverFiles()])).digest("hex").slice(0, 16)
