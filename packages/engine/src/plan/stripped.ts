/**
 * TypeScript sources of one project with their types stripped, kept between evaluations: one JSON file below the user's cache. Written
 * by this process only, from files that the evaluation may read anyway; the evaluation process can read it and nothing else of the
 * cache. Stripping keeps every line and column in place.
 */
import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { dirname, join, sep } from "node:path"

interface Files {
  readonly [path: string]: { readonly source: string; readonly stripped: string }
}

const MAX_FILES = 400
const MAX_BYTES = 1024 * 1024

export const strippedFile = (cacheDirectory: string, root: string): string =>
  join(cacheDirectory, "stripped", `${createHash("sha256").update(`${process.version}\0${root}`).digest("hex").slice(0, 16)}.json`)

/** Node calls its stripper experimental, once, on standard error; whoever plans a pipeline cannot do anything about that. */
const strip = (source: string): string => {
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    return stripTypeScriptTypes(source)
  } finally {
    process.emitWarning = emitWarning
  }
}

const read = (file: string): Files => {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Files
  } catch {
    return {}
  }
}

/** `missed` comes from the process that ran the user's code: only what that process may read (`readable`) is looked at. */
export const addStripped = (file: string, missed: ReadonlyArray<string>, readable: ReadonlyArray<string>): void => {
  const files: Record<string, { readonly source: string; readonly stripped: string }> = { ...read(file) }
  for (const path of new Set(missed.slice(0, MAX_FILES))) {
    try {
      if (!path.endsWith(".ts") || realpathSync(path) !== path || statSync(path).size > MAX_BYTES) continue
      if (!readable.some((allowed) => path === allowed || path.startsWith(allowed + sep))) continue
      const source = readFileSync(path, "utf8")
      files[path] = { source, stripped: strip(source) }
    } catch {
      // gone, or not TypeScript that can be stripped: the next evaluation says so
    }
  }
  const kept = Object.entries(files).slice(-MAX_FILES)
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.${process.pid}`, JSON.stringify(Object.fromEntries(kept)), { mode: 0o600 })
    renameSync(`${file}.${process.pid}`, file)
  } catch {
    // a cache that cannot be written only costs time
  }
}
