/**
 * Reads a JSONL file as batches of rows, in memory bounded by the longest row. A row is a line without its line end: LF and CRLF, a
 * byte order mark at the start, a last line without a line end are all fine; blank lines are skipped (and counted as lines). What is
 * not UTF-8 or longer than MAX_ROW_BYTES is refused by line number.
 *
 * Rows are positions in a shared buffer, because an object a row costs more than sealing it.
 */
import { isUtf8 } from "node:buffer"
import type { FileHandle } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { StageError } from "../stage/StageError.ts"
import { MAX_ROW_BYTES, notUtf8, tooLong, unreadable } from "./DatasetFault.ts"
import { openSource } from "./openSource.ts"

const READ_BYTES = 1 << 20
const BATCH_ROWS = 16_384

/** Valid until the next batch is asked for. */
export interface RowBatch {
  readonly buffer: Buffer
  readonly count: number
  /** row i is `buffer[starts[i] .. ends[i])` and stands on line `lines[i]` */
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  readonly lines: Uint32Array
}

const LF = 10, CR = 13

const isBlank = (buffer: Buffer, start: number, end: number): boolean => {
  for (let i = start; i < end; i++) if (buffer[i] !== 32 && buffer[i] !== 9 && buffer[i] !== CR) return false
  return true
}

async function* batches(handle: FileHandle, name: string, onBytes: ((bytes: Buffer) => void) | undefined): AsyncGenerator<RowBatch> {
  const starts = new Uint32Array(BATCH_ROWS), ends = new Uint32Array(BATCH_ROWS), lines = new Uint32Array(BATCH_ROWS)
  let buffer = Buffer.allocUnsafe(2 * READ_BYTES)
  let filled = 0, line = 1, ended = false, begun = false
  while (!ended) {
    if (filled + READ_BYTES > buffer.length) {
      const larger = Buffer.allocUnsafe(Math.min(buffer.length * 2, MAX_ROW_BYTES + 2 * READ_BYTES))
      buffer.copy(larger, 0, 0, filled)
      buffer = larger
    }
    const { bytesRead } = await handle.read(buffer, filled, READ_BYTES, null)
    ended = bytesRead === 0
    if (bytesRead > 0) onBytes?.(buffer.subarray(filled, filled + bytesRead))
    let searched = filled
    filled += bytesRead
    const view = buffer.subarray(0, filled)
    let start = 0, count = 0
    if (!begun && (filled >= 3 || ended)) {
      begun = true
      if (filled >= 3 && view[0] === 0xef && view[1] === 0xbb && view[2] === 0xbf) start = 3
    }
    const rowsEnd = ended ? filled : view.lastIndexOf(LF) + 1
    const whole = isUtf8(view.subarray(start, Math.max(start, rowsEnd)))
    while (start < filled) {
      const newline = view.indexOf(LF, Math.max(start, searched))
      if (newline === -1 && !ended) break
      let end = newline === -1 ? filled : newline
      const next = newline === -1 ? filled : newline + 1
      if (end > start && view[end - 1] === CR) end--
      if (end - start > MAX_ROW_BYTES) throw tooLong(name, line)
      if (!whole && !isUtf8(view.subarray(start, end))) throw notUtf8(name, line)
      const first = view[start]
      // "{" is what all but bad rows begin with
      if (first === 123 || !isBlank(view, start, end)) {
        starts[count] = start
        ends[count] = end
        lines[count] = line
        count++
      }
      line++
      start = next
      if (count === BATCH_ROWS) {
        yield { buffer, count, starts, ends, lines }
        count = 0
      }
    }
    if (count > 0) yield { buffer, count, starts, ends, lines }
    buffer.copyWithin(0, start, filled)
    filled -= start
    searched = filled
    if (filled > MAX_ROW_BYTES) throw tooLong(name, line)
  }
}

/** `onBytes` sees every byte of the file once, in order. `name` is what errors call the file. */
export const rowBatches = (path: string, name: string, onBytes?: (bytes: Buffer) => void): Stream.Stream<RowBatch, StageError> =>
  Stream.unwrap(
    Effect.map(openSource(path, name), (handle) =>
      Stream.fromAsyncIterable(batches(handle, name, onBytes), (cause) => (cause instanceof StageError ? cause : unreadable(name, cause))))
  )
