/** The pinned Python packages of the trainer and the transformers server, and how an installed set differs from them. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** `PYTHONPATH` of `hyper_trainer`; holds `requirements.txt`. */
export const trainerPython = fileURLToPath(new URL("./python", import.meta.url)).replace(/\/$/, "")

export const requirementsFile = `${trainerPython}/requirements.txt`

export interface Pin {
  readonly name: string
  readonly version: string
}

/** One `name==version` a line; comments and blank lines aside. Throws on anything else: a loose pin is not reproducible. */
export const parsePins = (text: string): ReadonlyArray<Pin> =>
  text.split("\n").flatMap((raw, index) => {
    const line = raw.replace(/#.*/, "").trim()
    if (line === "") return []
    const match = /^([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)$/.exec(line)
    if (match === null) throw new Error(`requirements.txt, line ${index + 1}: "${line}" is not of the form name==version`)
    return [{ name: match[1]!.toLowerCase(), version: match[2]! }]
  })

let read: { readonly text: string; readonly pins: ReadonlyArray<Pin> } | undefined

export const requirements = (): { readonly text: string; readonly pins: ReadonlyArray<Pin> } => {
  if (read === undefined) {
    const text = readFileSync(requirementsFile, "utf8")
    read = { text, pins: parsePins(text) }
  }
  return read
}

/** `2.13.0+cpu` satisfies the pin `2.13.0` (PEP 440: a local version matches its public one). */
const satisfies = (installed: string, pinned: string): boolean => installed === pinned || installed.split("+")[0] === pinned

/** "torch 2.12.0 (needs 2.13.0)", "peft is missing"; empty where all pins hold. */
export const differences = (installed: Readonly<Record<string, string>>, pins: ReadonlyArray<Pin>): ReadonlyArray<string> =>
  pins.flatMap(({ name, version }) => {
    const found = installed[name]
    if (found === undefined) return [`${name} is missing (needs ${version})`]
    return satisfies(found, version) ? [] : [`${name} is ${found} (needs ${version})`]
  })

export const shortDigest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16)
