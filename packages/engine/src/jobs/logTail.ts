/** The end of a job's output, for errors that say why it ended. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { jobFiles } from "./JobDirectory.ts"

const TAIL = 32 * 1024

/** "" where there is no log yet. What a process printed may hold data: who shows it decides which lines. */
export const logTail = (directory: string): string => {
  try {
    const file = openSync(jobFiles(directory).output, "r")
    try {
      const { size } = fstatSync(file)
      const bytes = Buffer.alloc(Math.min(size, TAIL))
      readSync(file, bytes, 0, bytes.length, size - bytes.length)
      return bytes.toString("utf8")
    } finally {
      closeSync(file)
    }
  } catch {
    return ""
  }
}

export const lastLines = (log: string, count: number): string => log.trimEnd().split("\n").slice(-count).join("\n")
