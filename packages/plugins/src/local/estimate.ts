/** What can be said at plan time from metadata and the first rows alone. */
import { promises as fs } from "node:fs"
import { basename } from "node:path"
import * as Effect from "effect/Effect"
import { inspectModel, ModelFault } from "@hypernode/engine/artifact/ModelFiles"
import { parseRow } from "@hypernode/engine/dataset/rowFault"
import type { Estimate, PlanNote } from "@hypernode/engine/plugin/Plugin"
import { type Options, pathFrom } from "./Options.ts"

const HEAD_BYTES = 65_536
const size = (bytes: number): string => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`)

const modelNote = async (directory: string): Promise<{ readonly note: PlanNote; readonly bytes: number }> => {
  try {
    const model = await inspectModel(directory)
    const license = model.license === undefined ? "no licence stated" : `licence ${model.license}`
    return { bytes: model.bytes, note: { level: "info", message: `model ${basename(directory)}: ${model.architecture}, ${(model.parameters / 1e6).toFixed(1)} M parameters, ${size(model.bytes)}, ${license}` } }
  } catch (error) {
    if (error instanceof ModelFault) return { bytes: 0, note: { level: "refuse", message: error.message, remedy: error.remedy } }
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown failure"
    return { bytes: 0, note: { level: "refuse", message: `The model directory ${directory} cannot be read (${code}).`, remedy: "Check its permissions." } }
  }
}

const refuse = (message: string, remedy: string) => ({ bytes: 0, note: { level: "refuse", message, remedy } as const })

const datasetNote = async (path: string, format: Options["format"]): Promise<{ readonly note: PlanNote; readonly bytes: number }> => {
  const name = basename(path)
  try {
    const handle = await fs.open(path, "r")
    try {
      const stat = await handle.stat()
      if (!stat.isFile()) return refuse(`The data set ${path} is not a regular file.`, "Name one JSONL file: one JSON object a line.")
      if (stat.size === 0) return refuse(`The data set ${path} is empty.`, "Give a JSONL file with at least one row: one JSON object a line.")
      const head = Buffer.alloc(Math.min(HEAD_BYTES, stat.size))
      const { bytesRead } = await handle.read(head, 0, head.length, 0)
      const lines = head.toString("utf8", 0, bytesRead).replace(/^\uFEFF/, "").split("\n")
      // the last piece may be cut off
      if (bytesRead < stat.size) lines.pop()
      let found = format === "auto" ? undefined : format
      for (const [i, line] of lines.entries()) {
        if (line.trim() === "") continue
        const parsed = parseRow(line, found)
        if (parsed.fault !== undefined) return refuse(`${name}, line ${i + 1}: ${parsed.fault}.`, "Correct or remove that line.")
        found = parsed.format
      }
      return { bytes: stat.size, note: { level: "info", message: `data set ${name}: ${size(stat.size)}${found === undefined ? "" : `, ${found} rows`}` } }
    } finally {
      await handle.close()
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown failure"
    return code === "ENOENT"
      ? refuse(`The data set ${path} does not exist.`, "Check the path: a relative one starts at the directory of the pipeline file.")
      : refuse(`The data set ${path} cannot be read (${code}).`, "Check its permissions.")
  }
}

/** Bytes a second that hashing a model and checking rows takes, with a wide margin. */
const RATE: readonly [number, number] = [50e6, 1000e6]

export const estimate = (options: Options, context: { readonly projectDirectory: string }): Effect.Effect<Estimate> =>
  Effect.promise(async () => {
    const found = []
    if (options.model !== undefined) found.push(await modelNote(pathFrom(context.projectDirectory, options.model)))
    if (options.dataset !== undefined) found.push(await datasetNote(pathFrom(context.projectDirectory, options.dataset), options.format))
    if (found.length === 0) found.push({ bytes: 0, note: { level: "refuse", message: "local() selects nothing.", remedy: "Give it a model, a dataset or both: local({ model: \"./model\", dataset: \"./rows.jsonl\" })." } as const })
    const bytes = found.reduce((sum, f) => sum + f.bytes, 0)
    return { seconds: [bytes / RATE[1], bytes / RATE[0]], notes: found.map((f) => f.note), sideEffects: [], tools: [], hosts: [] }
  })
