import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { HeaderFault, MAX_HEADER_BYTES, headerLength, parseHeader, readHeader } from "../../src/safetensors/Header.ts"

const json = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value))
const a = { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] }
const b = { dtype: "BF16", shape: [4], data_offsets: [24, 32] }

describe("parseHeader", () => {
  it("reads a header, in the order of the bytes", () => {
    const header = parseHeader(json({ b, a, __metadata__: { format: "pt" } }), 32)
    expect(header.tensors.map((t) => [t.name, t.begin, t.end])).toEqual([["a", 0, 24], ["b", 24, 32]])
    expect(header.metadata).toEqual({ format: "pt" })
  })
  it("takes the padding that the reference writer adds, scalars and empty tensors", () => {
    expect(parseHeader(json(`${JSON.stringify({ s: { dtype: "I64", shape: [], data_offsets: [0, 8] }, e: { dtype: "F32", shape: [0, 7], data_offsets: [8, 8] } })}   `), 8).tensors).toHaveLength(2)
  })
  it.each<[string, unknown, number, RegExp]>([
    ["an overlap", { a, b: { ...b, data_offsets: [16, 24] } }, 24, /inside the tensor that ends at 24/],
    ["two tensors on the same bytes", { a, b: a }, 24, /inside the tensor/],
    ["a gap", { a, b: { ...b, data_offsets: [32, 40] } }, 40, /8 bytes before it belong to no tensor/],
    ["bytes after the last tensor", { a }, 30, /take 24 bytes, the file holds 30/],
    ["bytes missing at the end", { a }, 20, /take 24 bytes, the file holds 20/],
    ["an end before the beginning", { a: { ...a, data_offsets: [24, 0] } }, 24, /before it begins/],
    ["a negative offset", { a: { ...a, data_offsets: [-24, 0] } }, 24, /non-negative/],
    ["a fractional offset", { a: { ...a, data_offsets: [0, 24.5] } }, 24, /non-negative integers/],
    ["offsets past exact integers", { a: { ...a, data_offsets: [0, 2 ** 60] } }, 24, /non-negative integers/],
    ["a shape that does not fit", { a: { ...a, shape: [2, 4] } }, 24, /takes 32 bytes, data_offsets give 24/],
    ["a shape whose product overflows", { a: { ...a, shape: [2 ** 40, 2 ** 40] } }, 24, /takes/],
    ["a negative shape", { a: { ...a, shape: [-2, -3] } }, 24, /non-negative/],
    ["an unknown dtype", { a: { ...a, dtype: "F33" } }, 24, /unknown dtype "F33"/],
    ["a dtype from the prototype", { a: { ...a, dtype: "constructor" } }, 24, /unknown dtype/],
    ["an unknown field", { a: { ...a, url: "x" } }, 24, /unknown field "url"/],
    ["half a byte", { a: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, 1, /takes 1 bytes/],
    ["metadata that is no text", { a, __metadata__: { format: 1 } }, 24, /strings to strings/],
    ["an array", [a], 24, /begin with/],
    ["no JSON", "{", 0, /not UTF-8 JSON/],
    ["white space before the brace", ` ${JSON.stringify({ a })}`, 24, /begin with/],
    ["a duplicate tensor", `{"a":${JSON.stringify(a)},"a":${JSON.stringify(a)}}`, 24, /"a" twice/],
    ["a duplicate under another spelling", `{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`, 24, /"a" twice/],
    ["a duplicate field inside a tensor", `{"a":{"dtype":"F32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, 24, /"dtype" twice/]
  ])("refuses %s", (_name, value, dataBytes, message) => {
    expect(() => parseHeader(json(value), dataBytes)).toThrow(HeaderFault)
    expect(() => parseHeader(json(value), dataBytes)).toThrow(message)
  })
  it("does not take equal text in values, nested objects or array elements for a duplicate", () => {
    expect(parseHeader(json(`{"a":${JSON.stringify(a)},"__metadata__":{"a":"a","b":"{\\"a\\":1,\\"a\\":2}"}}`), 24).tensors).toHaveLength(1)
  })
  it("never throws anything but HeaderFault, whatever the bytes", () => {
    fc.assert(fc.property(fc.oneof(fc.json().map(json), fc.uint8Array()), fc.nat(100), (bytes, size) => {
      try {
        parseHeader(bytes, size)
      } catch (error) {
        expect(error).toBeInstanceOf(HeaderFault)
      }
    }))
  })
})

describe("files", () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "st-"))
  })
  afterAll(() => rm(directory, { recursive: true }))
  const file = (header: Uint8Array, data: number, claimed = BigInt(header.length)) => {
    const prefix = Buffer.alloc(8)
    prefix.writeBigUInt64LE(claimed)
    return Buffer.concat([prefix, header, Buffer.alloc(data)])
  }
  it("reads a file", async () => {
    const path = join(directory, "good.safetensors")
    await writeFile(path, file(json({ a, b }), 32))
    expect((await readHeader(path)).tensors).toHaveLength(2)
  })
  it.each<[string, Buffer, RegExp]>([
    ["an empty file", Buffer.alloc(0), /too few/],
    ["seven bytes", Buffer.alloc(7), /too few/],
    ["a header longer than the file", file(json({ a }), 0, 10_000n), /claims 10000 bytes, the file has/],
    ["a huge header", file(json({ a }), 24, 2n ** 63n), /at most 100000000/],
    ["a truncated file", file(json({ a, b }), 31), /take 32 bytes, the file holds 31/]
  ])("refuses %s", async (name, bytes, message) => {
    const path = join(directory, `${name.replaceAll(" ", "-")}.safetensors`)
    await writeFile(path, bytes)
    await expect(readHeader(path)).rejects.toThrow(message)
  })
  it("refuses a huge header before it reserves memory for it", () => {
    const prefix = Buffer.alloc(8)
    prefix.writeBigUInt64LE(BigInt(MAX_HEADER_BYTES) + 1n)
    expect(() => headerLength(prefix, 2 ** 40)).toThrow(/at most/)
  })
})
