/**
 * Packs rows into segments of whole records: each row and one LF, at most so many bytes and rows; a longer row stands alone. A row is a
 * line without its line end and the blanks around it: LF and CRLF, a byte order mark at the start, blank lines, a last line without a line
 * end are all fine. What is not UTF-8, too long or no object is refused by line number. The result depends on the bytes alone, not on how
 * they arrive.
 *
 * Rows stay where they were read to, if they are as they should be: then a segment is a range of the file's bytes. Others are moved
 * together in place.
 */
import { isUtf8 } from "node:buffer"
import { invalidRow, MAX_ROW_BYTES, notUtf8, tooLong } from "@hypernode/engine/dataset/DatasetFault"
import { type Slot, Slots, wipe } from "./Slots.ts"

export interface PlainSegment {
  readonly index: number
  readonly rows: number
  /** exactly the segment's bytes; whoever seals them overwrites them and gives `slot` back */
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly slot: Slot
}

const OPEN = 123, CLOSE = 125, LF = 10, CR = 13, SPACE = 32, TAB = 9
/** Room behind a whole segment, so that the row that no longer fits is mostly seen whole. */
const SLACK_BYTES = 256 << 10
const LEAST_READ_BYTES = 64 << 10

const isBlank = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let i = start; i < end; i++) if (bytes[i] !== SPACE && bytes[i] !== TAB && bytes[i] !== CR) return false
  return true
}

export class Segmenter {
  readonly slots: Slots
  readonly #name: string
  readonly #segmentBytes: number
  readonly #segmentRows: number
  #slot: Slot
  /** [begin, end) is the unfinished segment, [end, filled) a line that has no end yet, up to `high` there may be plaintext */
  #begin = 0
  #end = 0
  #filled = 0
  #high = 0
  #rows = 0
  #line = 1
  #index = 0
  #totalRows = 0
  #begun = false

  constructor(name: string, segmentBytes: number, segmentRows: number) {
    this.#name = name
    this.#segmentBytes = segmentBytes
    this.#segmentRows = segmentRows
    this.slots = new Slots(segmentBytes + SLACK_BYTES)
    this.#slot = this.slots.take(0)
  }

  get totalRows(): number {
    return this.#totalRows
  }

  /** Where the file's next bytes are to be put, as many as fit; then call `push`. */
  space(): Buffer<SharedArrayBuffer> {
    if (this.#slot.bytes.length - this.#filled <= LEAST_READ_BYTES) this.#carry()
    // one byte is kept for the line end that the last line may lack
    return this.#slot.bytes.subarray(this.#filled, this.#slot.bytes.length - 1)
  }

  /** What is unfinished moves to a new slot. */
  #carry(): void {
    const slot = this.#slot
    const carried = this.#filled - this.#begin
    this.#slot = this.slots.take(carried + 2 * LEAST_READ_BYTES + (this.#begin === 0 ? Math.min(carried, MAX_ROW_BYTES) : 0))
    slot.bytes.copy(this.#slot.bytes, 0, this.#begin, this.#filled)
    wipe(slot.bytes.subarray(this.#begin, this.#high))
    this.slots.filled(slot)
    this.#end -= this.#begin
    this.#begin = 0
    this.#filled = this.#high = carried
  }

  /** The segments that `length` bytes more in `space()` complete. Throws StageError. */
  push(length: number): Array<PlainSegment> {
    const searched = this.#filled
    this.#filled += length
    this.#high = Math.max(this.#high, this.#filled)
    if (!this.#begun && this.#filled < 3) return []
    // the one search that counts: a long line is not searched again from its start
    const last = this.#slot.bytes.subarray(searched, this.#filled).lastIndexOf(LF)
    const done = last === -1 ? [] : this.#split(searched + last + 1)
    if (this.#filled - this.#end > MAX_ROW_BYTES + 1) throw tooLong(this.#name, this.#line)
    return done
  }

  /** What is left after the last bytes. Throws StageError. */
  end(): Array<PlainSegment> {
    const done = this.#filled > this.#end ? this.#split(this.#filled) : []
    if (this.#rows > 0) done.push(this.#cut())
    return done
  }

  #cut(): PlainSegment {
    this.#slot.unsealed++
    const segment = { index: this.#index++, rows: this.#rows, bytes: this.#slot.bytes.subarray(this.#begin, this.#end), slot: this.#slot }
    this.#begin = this.#end
    this.#rows = 0
    return segment
  }

  /**
   * Goes through the lines of [end, limit). Whether rows are well-formed is for the select stage to say, and the commitment holds the file
   * to that; here a row must only begin and end as an object, so that a cut or foreign file is named by line.
   */
  #split(limit: number): Array<PlainSegment> {
    const done: Array<PlainSegment> = []
    const { bytes } = this.#slot
    let at = this.#end
    if (!this.#begun) {
      this.#begun = true
      if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) at = Math.min(3, limit)
    }
    const whole = isUtf8(bytes.subarray(at, limit))
    // [run, runEnd): rows with one LF between them, still to be moved so that they end at #end; nearly always they are there already.
    let run = at, runEnd = at
    const move = (): void => {
      const target = this.#end - (runEnd - run)
      if (target !== run) bytes.copyWithin(target, run, runEnd)
      run = runEnd
    }
    for (; at < limit; this.#line++) {
      const newline = bytes.indexOf(LF, at)
      // behind the limit lies what an earlier segment left in the slot
      const lineEnd = newline === -1 || newline >= limit ? limit : newline
      let start = at, end = lineEnd
      at = Math.min(lineEnd + 1, limit)
      if (bytes[end - 1] === CR && end > start) end--
      if (end - start > MAX_ROW_BYTES) throw tooLong(this.#name, this.#line)
      if (!whole && !isUtf8(bytes.subarray(start, end))) throw notUtf8(this.#name, this.#line)
      if (bytes[start] !== OPEN || bytes[end - 1] !== CLOSE) {
        if (isBlank(bytes, start, end)) continue
        while (bytes[start] === SPACE || bytes[start] === TAB) start++
        while (bytes[end - 1] === SPACE || bytes[end - 1] === TAB) end--
        if (bytes[start] !== OPEN || bytes[end - 1] !== CLOSE) throw invalidRow(this.#name, this.#line, "the row is not a JSON object")
      }
      const length = end - start + 1
      if (this.#rows > 0 && (this.#rows === this.#segmentRows || this.#end - this.#begin + length > this.#segmentBytes)) {
        move()
        done.push(this.#cut())
      }
      if (start !== runEnd) {
        move()
        run = start
      }
      if (end === lineEnd && lineEnd < limit) {
        runEnd = end + 1
        this.#end += length
      } else {
        // the row's line end is not a bare LF: written by hand, behind the row
        runEnd = end
        this.#end += length - 1
        move()
        bytes[this.#end++] = LF
      }
      this.#rows++
      this.#totalRows++
    }
    move()
    if (limit !== this.#end) {
      bytes.copyWithin(this.#end, limit, this.#filled)
      this.#filled -= limit - this.#end
      this.#high = Math.max(this.#high, this.#filled)
    }
    return done
  }
}
