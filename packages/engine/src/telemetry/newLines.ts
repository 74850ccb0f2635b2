/** What was added to an append-only file of lines. */
import { open } from "node:fs/promises"

export interface NewLine {
  readonly text: string
  /** byte offset of the line */
  readonly at: number
}

export interface NewLines {
  readonly lines: ReadonlyArray<NewLine>
  /** byte offset to go on from; a line without its end is left for the next time */
  readonly readTo: number
  /** false: there is more than fits in `limit` bytes */
  readonly done: boolean
}

/** A line may be so long at most; its writer seals far smaller batches. */
export const MAX_LINE = 16 * 1024 * 1024

/** Complete lines from `from` on, about `limit` bytes of them. A file that is not there has none. Rejects where it shrank, or a line is too long. */
export const newLines = async (path: string, from: number, limit = 4 * 1024 * 1024): Promise<NewLines> => {
  const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined
    throw error
  })
  if (file === undefined) return { lines: [], readTo: from, done: true }
  try {
    const { size } = await file.stat()
    if (size < from) throw new Error(`${path} has ${size} bytes, but ${from} were read from it: it was cut off or replaced`)
    for (let length = Math.min(limit, size - from);; length = Math.min(length * 2, size - from)) {
      const buffer = Buffer.alloc(length)
      const { bytesRead } = await file.read(buffer, 0, length, from)
      const end = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1
      if (end === 0 && length < size - from && length <= MAX_LINE) continue
      if (end === 0 && length > MAX_LINE) throw new Error(`${path}, byte ${from}: a line is longer than ${MAX_LINE} bytes`)
      const lines: Array<NewLine> = []
      for (let at = 0; at < end;) {
        const next = buffer.indexOf(0x0a, at)
        if (next > at) lines.push({ text: buffer.toString("utf8", at, next), at: from + at })
        at = next + 1
      }
      return { lines, readTo: from + end, done: length >= size - from }
    }
  } finally {
    await file.close()
  }
}
