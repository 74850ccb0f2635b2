/** What is wrong with a data set: file name, line, remedy. Never a row's content. */
import { StageError } from "../stage/StageError.ts"

export const invalidDataset = (message: string, remedy: string): StageError => new StageError({ reason: "InvalidInput", message, remedy })

/** `line` counts from 1, as editors do. */
export const invalidRow = (name: string, line: number, fault: string, remedy = "Correct or remove that line."): StageError => invalidDataset(`${name}, line ${line}: ${fault}.`, remedy)

export const MAX_ROW_BYTES = 16 << 20
export const tooLong = (name: string, line: number): StageError =>
  invalidRow(name, line, `the row is longer than ${MAX_ROW_BYTES >> 20} MiB`, "Split the row, or check that the file has one JSON object a line.")

export const notUtf8 = (name: string, line: number): StageError => invalidRow(name, line, "the row is not UTF-8", "Save the file as UTF-8.")

export const unreadable = (name: string, cause: unknown): StageError => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown failure"
  if (code === "ENOENT") return invalidDataset(`The data set ${name} does not exist.`, "Check the path: a relative one starts at the directory of the pipeline file.")
  if (code === "EACCES" || code === "EPERM") return invalidDataset(`The data set ${name} may not be read (${code}).`, "Give the user that runs the daemon permission to read it.")
  if (code === "EISDIR") return invalidDataset(`The data set ${name} is a directory.`, "Name one JSONL file: one JSON object a line.")
  return new StageError({ reason: "Unavailable", message: `The data set ${name} cannot be read (${code}).` })
}
