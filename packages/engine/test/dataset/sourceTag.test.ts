import { createCipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { commitmentOf, readSource } from "../../src/dataset/readSource.ts"
import { sourceCheck } from "../../src/dataset/sourceCheck.ts"
import { sourceTag } from "../../src/dataset/sourceTag.ts"

const salt = Buffer.alloc(32, 3)
const file = randomBytes(70_007)

const tagOf = (bytes: Buffer, commitment: string, key: Buffer = salt, cuts: ReadonlyArray<number> = []): string => {
  const tag = sourceTag(key)
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    tag.update(bytes.subarray(at, cut))
    at = cut
  }
  return tag.digest(commitment)
}

const committed = (bytes: Buffer): string => {
  const commitment = commitmentOf(salt)
  commitment.update(bytes)
  return commitment.digest()
}

const matches = (bytes: Buffer, ref: { readonly commitment: string; readonly tag?: string }): boolean => {
  const check = sourceCheck(salt, ref)
  check.update(bytes)
  return check.matches()
}

describe("the fast tag of a source", () => {
  it("is the construction that it is said to be", () => {
    const keys = Buffer.from(hkdfSync("sha256", salt, Buffer.alloc(0), "hypernode source tag v1", 64))
    const gmac = createCipheriv("aes-256-gcm", keys.subarray(0, 32), Buffer.alloc(12))
    gmac.setAAD(file)
    gmac.final()
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(70_007n)
    const expected = createHmac("sha256", keys.subarray(32)).update(Buffer.concat([gmac.getAuthTag(), length, Buffer.from("c")])).digest("hex")
    assert.strictEqual(tagOf(file, "c"), `gmac-hmac-sha256:${expected}`)
  })

  it("does not depend on how the bytes come, and is the same every time", () => {
    const whole = tagOf(file, "c")
    for (const cuts of [[1], [15, 16, 17], [65_536], [70_006], [0, 33_333]]) assert.strictEqual(tagOf(file, "c", salt, cuts), whole)
  })

  it("differs for another byte, another length, another order, another commitment and another salt", () => {
    const flipped = Buffer.from(file)
    flipped[file.length - 1]! ^= 1
    const swapped = Buffer.concat([file.subarray(16, 32), file.subarray(0, 16), file.subarray(32)])
    const others = [
      tagOf(flipped, "c"), tagOf(file.subarray(0, -1), "c"), tagOf(Buffer.concat([file, Buffer.alloc(1)]), "c"), tagOf(swapped, "c"),
      tagOf(Buffer.alloc(0), "c"), tagOf(file, "d"), tagOf(file, "c", Buffer.alloc(32, 4)), tagOf(file, "c")
    ]
    assert.strictEqual(new Set(others).size, others.length)
  })

  it("decides where it is there, the commitment where it is not", () => {
    const commitment = committed(file)
    const tag = tagOf(file, commitment)
    const changed = Buffer.from(file)
    changed[7]! ^= 1
    assert.isTrue(matches(file, { commitment, tag }))
    assert.isTrue(matches(file, { commitment }))
    assert.isFalse(matches(changed, { commitment, tag }))
    assert.isFalse(matches(changed, { commitment }))
    assert.isFalse(matches(file, { commitment: committed(changed), tag }), "a tag is for one commitment")
    assert.isFalse(matches(file, { commitment, tag: commitment }), "the commitment is no tag")
    assert.isFalse(matches(file, { commitment, tag: "" }))
  })

  it("is what selecting a file records", async () => {
    const directory = await mkdtemp(join(tmpdir(), "tag-"))
    try {
      const path = join(directory, "rows.jsonl")
      const bytes = Buffer.from(`{"text":"a"}\r\n\n{"text":"b"}`)
      await writeFile(path, bytes)
      const facts = await Effect.runPromise(readSource({ path, name: "rows.jsonl", format: "auto", salt }))
      assert.isTrue(matches(bytes, facts))
      assert.strictEqual(facts.tag, tagOf(bytes, committed(bytes)))
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
