/** Packs rows into segments of whole records: each row and one LF, at most so many bytes and rows; a longer row stands alone. Deterministic. */
import { invalidRow } from "@hypernode/engine/dataset/DatasetFault"
import type { RowBatch } from "@hypernode/engine/dataset/RowBatches"

export interface PlainSegment {
  readonly index: number
  readonly rows: number
  /** exactly the segment's bytes, in shared memory that is given back by `reuse` */
  readonly bytes: Uint8Array<SharedArrayBuffer>
  /** of the first row in the file, for error messages */
  readonly firstLine: number
}

const OPEN = 123, CLOSE = 125, LF = 10, SPACE = 32, TAB = 9

export class Segmenter {
  readonly #name: string
  readonly #segmentBytes: number
  readonly #segmentRows: number
  #buffer: Buffer<SharedArrayBuffer>
  #filled = 0
  #rows = 0
  #firstLine = 0
  #index = 0
  #totalRows = 0
  readonly #spare: Array<SharedArrayBuffer> = []

  constructor(name: string, segmentBytes: number, segmentRows: number) {
    this.#name = name
    this.#segmentBytes = segmentBytes
    this.#segmentRows = segmentRows
    this.#buffer = this.#fresh(Math.min(segmentBytes, 1 << 20))
  }

  get totalRows(): number {
    return this.#totalRows
  }

  /** Memory of a segment that has been sealed, to be filled again: a data set then needs as much as is in flight. */
  reuse(memory: SharedArrayBuffer): void {
    if (memory.byteLength <= this.#segmentBytes) this.#spare.push(memory)
  }

  #fresh(size: number): Buffer<SharedArrayBuffer> {
    const spare = this.#spare.findIndex((memory) => memory.byteLength >= size)
    return Buffer.from(spare === -1 ? new SharedArrayBuffer(size) : (this.#spare.splice(spare, 1)[0] as SharedArrayBuffer))
  }

  #cut(): PlainSegment {
    const segment = { index: this.#index++, rows: this.#rows, bytes: this.#buffer.subarray(0, this.#filled), firstLine: this.#firstLine }
    this.#buffer = this.#fresh(this.#buffer.length)
    this.#filled = 0
    this.#rows = 0
    return segment
  }

  /**
   * The segments that a batch completes. Whether rows are well-formed is for the select stage to say, and the commitment holds it to
   * that; here a row must only begin and end as an object, so that a cut or foreign file is named by line. Throws StageError.
   */
  push(batch: RowBatch): Array<PlainSegment> {
    const done: Array<PlainSegment> = []
    const { buffer, count, ends, lines, starts } = batch
    // Rows that follow each other with one LF between them, as nearly all do, are copied at once: a view a row is what garbage
    // collection would mostly be for. `from` is where the uncopied run begins, `at` where its place in the segment does.
    let from = 0, to = 0, at = 0
    const flush = (): void => {
      if (to > from) buffer.copy(this.#buffer, at, from, to)
      from = to
    }
    for (let i = 0; i < count; i++) {
      let start = starts[i] as number
      let end = ends[i] as number
      while (buffer[start] === SPACE || buffer[start] === TAB) start++
      while (buffer[end - 1] === SPACE || buffer[end - 1] === TAB) end--
      if (buffer[start] !== OPEN || buffer[end - 1] !== CLOSE) throw invalidRow(this.#name, lines[i] as number, "the row is not a JSON object")
      const length = end - start + 1
      if (this.#rows > 0 && (this.#rows === this.#segmentRows || this.#filled + length > this.#segmentBytes)) {
        flush()
        done.push(this.#cut())
      }
      if (this.#filled + length > this.#buffer.length) {
        flush()
        const larger = this.#fresh(Math.max(this.#filled + length, Math.min(this.#buffer.length * 2, this.#segmentBytes)))
        this.#buffer.copy(larger, 0, 0, this.#filled)
        this.#buffer.fill(0)
        this.#buffer = larger
      }
      if (this.#rows === 0) this.#firstLine = lines[i] as number
      if (from === to || start !== to) {
        flush()
        from = start
        at = this.#filled
      }
      this.#filled += length
      if (buffer[end] === LF) to = end + 1
      else {
        // the row's line end is not a bare LF: written by hand, behind the row
        to = end
        flush()
        this.#buffer[this.#filled - 1] = LF
      }
      this.#rows++
      this.#totalRows++
    }
    flush()
    return done
  }

  /** What is left after the last batch. */
  end(): Array<PlainSegment> {
    return this.#rows === 0 ? [] : [this.#cut()]
  }
}
