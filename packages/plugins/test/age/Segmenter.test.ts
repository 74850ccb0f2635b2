/** Where segments end and what is in them depends on the file's bytes alone; no memory that was given back holds a row. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Segmenter } from "../../src/age/Segmenter.ts"
import { wipe } from "../../src/age/Slots.ts"

const row = (i: number, length: number): string => JSON.stringify({ text: `row ${i} ${"é".repeat(length)}` })

/** The same, said plainly: rows are trimmed lines, packed in order for as long as they fit. */
const packed = (text: string, segmentBytes: number, segmentRows: number): Array<string> => {
  const segments: Array<Array<string>> = []
  let bytes = 0
  for (const line of text.replace(/^\uFEFF/, "").split("\n").map((l) => l.replace(/\r$/, "").replace(/^[ \t]+|[ \t]+$/g, "")).filter((l) => l !== "" && l !== "\r")) {
    const length = Buffer.byteLength(line) + 1
    const last = segments.at(-1)
    if (last === undefined || bytes + length > segmentBytes || last.length === segmentRows) {
      segments.push([line])
      bytes = length
    } else {
      last.push(line)
      bytes += length
    }
  }
  return segments.map((lines) => `${lines.join("\n")}\n`)
}

/** The file arrives in pieces of the given sizes, over and over; segments are sealed, that is overwritten, two others later. */
const BEHIND = 2

const split = (text: string, segmentBytes: number, segmentRows: number, sizes: ReadonlyArray<number>, overwrite = wipe): { readonly segments: Array<string>; readonly memory: ReadonlyArray<Buffer> } => {
  const file = Buffer.from(text)
  const segmenter = new Segmenter("rows.jsonl", segmentBytes, segmentRows)
  const waiting: Array<ReturnType<Segmenter["end"]>[number]> = []
  const segments: Array<string> = []
  const memory = new Set<Buffer>()
  const seal = (left: number): void => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.length >= left ? waiting.shift() : undefined) {
      segments[one.index] = Buffer.from(one.bytes).toString()
      overwrite(one.bytes)
      segmenter.slots.sealed(one.slot)
      memory.add(one.slot.bytes)
    }
  }
  for (let at = 0, i = 0; at < file.length; i++) {
    const space = segmenter.space()
    const length = Math.min(sizes[i % sizes.length] as number, space.length, file.length - at)
    file.copy(space, 0, at, at + length)
    at += length
    waiting.push(...segmenter.push(length))
    if (waiting.length > BEHIND) seal(BEHIND)
  }
  waiting.push(...segmenter.end())
  seal(0)
  segmenter.slots.wipe()
  return { segments, memory: [...memory] }
}

const between = ["\n", "\n", "\n", "\n", "\r\n", "  \n", "\t\r\n", "\n\n", "\n \r\n  ", "\n\t"]

describe("age: Segmenter", () => {
  it("packs as the plain description does, whatever stands between rows and however the file arrives", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.nat(between.length - 1)), { minLength: 1, maxLength: 60 }),
        fc.constantFrom("", "\uFEFF", "\n \n"),
        fc.boolean(),
        fc.constantFrom(65_536, 100_000, 400_000),
        fc.constantFrom(1, 7, 1000),
        fc.array(fc.constantFrom(1, 2, 3, 1000, 65_536, 70_001, 500_000), { minLength: 3, maxLength: 8 }).filter((sizes) => sizes.some((size) => size > 999)),
        (rows, before, ended, segmentBytes, segmentRows, sizes) => {
          const lines = rows.map(([length, gap], i) => `${row(i, length)}${i === rows.length - 1 && !ended ? "" : between[gap]}`)
          const text = `${before}${lines.join("")}`
          assert.deepStrictEqual(split(text, segmentBytes, segmentRows, sizes).segments, packed(text, segmentBytes, segmentRows))
        }
      ),
      { numRuns: 60 }
    )
  })

  it("keeps a row that is longer than a segment and its slot whole", () => {
    const text = [row(0, 10), row(1, 900_000), row(2, 10), row(3, 10)].join("\n")
    for (const sizes of [[65_536], [1 << 20], [777]]) assert.deepStrictEqual(split(text, 65_536, 10, sizes).segments, [`${row(0, 10)}\n`, `${row(1, 900_000)}\n`, `${row(2, 10)}\n${row(3, 10)}\n`])
  })

  it("gives no memory back that holds a row", () => {
    const text = Array.from({ length: 4000 }, (_, i) => `${row(i, (i * 37) % 700)}${between[i % between.length]}`).join("")
    const { memory, segments } = split(text, 65_536, 100, [100_000])
    assert.isAbove(segments.length, 30)
    assert.isNotEmpty(memory)
    for (const bytes of memory) assert.isFalse(bytes.includes("row"))
    // what is not overwritten is seen
    assert.isTrue(split(text, 65_536, 100, [100_000], () => {}).memory.some((bytes) => bytes.includes("row")))
  })

  it("names the line of what it refuses, wherever the reads end", () => {
    const good = Array.from({ length: 500 }, (_, i) => row(i, 400)).join("\n")
    for (const [bad, fault] of [["CANARY", /line 502: the row is not a JSON object/], [`{"a":"CANARY"`, /line 502: the row is not a JSON object/], [`\r{"a":"CANARY"}`, /line 502: the row is not a JSON object/]] as const) {
      for (const sizes of [[65_536], [1, 2000], [1 << 20]]) {
        let message = ""
        try {
          split(`${good}\n\n${bad}\n${good}`, 65_536, 100, sizes)
        } catch (error) {
          message = (error as Error).message
        }
        assert.match(message, fault)
        assert.notInclude(message, "CANARY")
      }
    }
  })
})
