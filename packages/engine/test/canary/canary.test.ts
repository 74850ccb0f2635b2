import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, openSync, closeSync, rmSync, symlinkSync, truncateSync, writeFileSync, writeSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { onTestFinished } from "vitest"
import { sealFile } from "../../src/keys/age/File.ts"
import { generateIdentity, recipientOf } from "../../src/keys/age/X25519.ts"
import { canaryOf, scanDirectories, scanTexts } from "../../src/testing/canary.ts"

const text = 'canary-7f"ü>>??-3e91d0'
const ids = [517, 4, 1023, 88, 2047, 65_000]
const canary = canaryOf(text, [ids])
const bytes = Buffer.from(text)

let root: string
beforeEach(() => { root = mkdtempSync(join(tmpdir(), "canary-")) })
afterEach(() => rmSync(root, { recursive: true, force: true }))

const forms = async (content: Buffer | string): Promise<ReadonlyArray<string>> => {
  const path = join(root, "f")
  writeFileSync(path, content)
  const { hits, unread } = await scanDirectories(canary, [root])
  assert.isEmpty(unread)
  for (const hit of hits) assert.strictEqual(hit.path, path)
  return hits.map((hit) => hit.form)
}
const pad = (n: number) => Buffer.alloc(n, 0x61)
const pack = (width: number, write: (b: Buffer, id: number, at: number) => void) => {
  const b = Buffer.alloc(ids.length * width)
  ids.forEach((id, i) => write(b, id, i * width))
  return Buffer.concat([pad(3), b, pad(5)])
}

describe("canary: a leak planted in each form is found", () => {
  const planted: ReadonlyArray<readonly [string, Buffer | string, string]> = [
    ["text", `x ${text} y`, "text"],
    ["UTF-16", Buffer.from(`ab${text}c`, "utf16le"), "utf16le"],
    ["JSON", JSON.stringify({ x: text }).replace("ü", "\\u00fc"), "json"],
    ["hex", bytes.toString("hex"), "hex"],
    ["upper-case hex", bytes.toString("hex").toUpperCase(), "HEX"],
    ...[0, 1, 2, 3, 4, 5].map((n) => [`base64 after ${n} bytes`, Buffer.concat([pad(n), bytes, pad(7)]).toString("base64"), `base64+${n % 3}`] as const),
    ...[0, 1, 2].map((n) => [`base64 at the end after ${n} bytes`, Buffer.concat([pad(n), bytes]).toString("base64"), `base64+${n}`] as const),
    ["base64url", Buffer.concat([pad(1), bytes, pad(1)]).toString("base64url"), "base64url+1"],
    ["ids as JSON", JSON.stringify({ input_ids: [1, ...ids, 2] }), "ids"],
    ["ids as indented JSON", JSON.stringify([9, ...ids], null, 8), "ids"],
    ["ids with blanks", `7 ${ids.join(" ")}`, "ids"],
    ["ids with commas and blanks", `tensor([${ids.join(", ")}])`, "ids"],
    ["ids a line", ids.join("\n"), "ids"],
    ["16-bit ids", pack(2, (b, id, at) => b.writeUInt16LE(id, at)), "int16le"],
    ["32-bit ids", pack(4, (b, id, at) => b.writeInt32LE(id, at)), "int32le"],
    ["32-bit big-endian ids", pack(4, (b, id, at) => b.writeInt32BE(id, at)), "int32be"],
    ["64-bit ids", pack(8, (b, id, at) => b.writeBigInt64LE(BigInt(id), at)), "int64le"]
  ]
  for (const [name, content, form] of planted) {
    it(`${name}`, async () => {
      assert.include(await forms(content), form)
      if (typeof content === "string") assert.include(scanTexts(canary, { event: content }).map((hit) => hit.form), form)
    })
  }

  it("across the border of two pieces, whatever it cuts", async () => {
    for (const before of [0, 1, bytes.length - 1, bytes.length]) {
      assert.deepStrictEqual(await forms(Buffer.concat([pad((4 << 20) - before), bytes, pad(10)])), ["text"], `${before} bytes before the border`)
    }
    assert.deepStrictEqual(await forms(Buffer.concat([Buffer.alloc(4 << 20), bytes, Buffer.alloc(8 << 20)])), ["text"])
  })

  it("in names, links, hidden files, deep directories", async () => {
    mkdirSync(join(root, ".a", "b", "c"), { recursive: true })
    writeFileSync(join(root, ".a", "b", "c", ".hidden"), text)
    writeFileSync(join(root, "log-canary-99887766.txt"), "")
    symlinkSync(`/nowhere/${text}`, join(root, "link"))
    const { hits } = await scanDirectories(canary, [root])
    assert.deepStrictEqual(hits.map((hit) => hit.form).toSorted(), ["link:text", "text"])
    assert.deepStrictEqual((await scanDirectories(canaryOf("canary-99887766"), [root])).hits.map((hit) => hit.form), ["name:text"])
  })

  it("in a SQLite database, deleted rows included", async () => {
    const database = new DatabaseSync(join(root, "x.db"))
    database.exec("create table t (a text)")
    database.prepare("insert into t values (?)").run(text)
    database.exec("delete from t")
    database.close()
    assert.include((await scanDirectories(canary, [root])).hits.map((hit) => hit.form), "text")
  })

  it("at the end of a sparse file, without reading for minutes", async () => {
    const path = join(root, "sparse")
    const file = openSync(path, "w")
    writeSync(file, bytes, 0, bytes.length, 300 << 20)
    closeSync(file)
    truncateSync(path, 600 << 20)
    const { hits } = await scanDirectories(canary, [root])
    assert.deepStrictEqual(hits, [{ path, form: "text", offset: 300 << 20 }])
  })
})

describe("canary: what is none is not found", () => {
  it("sealed data, random bytes, other ids", async () => {
    writeFileSync(join(root, "sealed.age"), sealFile(Buffer.concat([pad(100_000), bytes]), [recipientOf(generateIdentity())]))
    writeFileSync(join(root, "ids.json"), JSON.stringify([[517, 4, 1023, 88, 2047, 65_001], [1517, 4, 1023, 88, 2047, 65_000], ids.toReversed(), Number(ids.join(""))]))
    writeFileSync(join(root, "zeros"), Buffer.alloc(9 << 20))
    const { bytes: scanned, files, hits } = await scanDirectories(canary, [root])
    assert.isEmpty(hits)
    assert.strictEqual(files, 3)
    assert.isAbove(scanned, 9 << 20)
  })

  it("what was excepted, but nothing beside it", async () => {
    writeFileSync(join(root, "rows.jsonl"), text)
    writeFileSync(join(root, "rows.jsonl.bak"), text)
    const { hits } = await scanDirectories(canary, [root], (path) => path === join(root, "rows.jsonl"))
    assert.deepStrictEqual(hits.map((hit) => hit.path), [join(root, "rows.jsonl.bak")])
  })

  it("files that could not be read are told, not passed over", async () => {
    if (process.getuid?.() === 0) {
      // root reads everything: let another user scan, where every directory above lets him through
      const open = mkdtempSync("/dev/shm/canary-")
      onTestFinished(() => rmSync(open, { recursive: true, force: true }))
      writeFileSync(join(open, "secret"), text)
      chmodSync(open, 0o755)
      chmodSync(join(open, "secret"), 0o000)
      const program = `import { canaryOf, scanDirectories } from ${JSON.stringify(join(import.meta.dirname, "../../src/testing/canary.ts"))}
        process.setgid(65534); process.setuid(65534)
        console.log(JSON.stringify(await scanDirectories(canaryOf("canary-canary-canary"), [${JSON.stringify(open)}])))`
      const scan = JSON.parse(execFileSync(process.execPath, ["--input-type=module-typescript", "-e", program], { stdio: ["ignore", "pipe", "pipe"] }).toString())
      assert.deepStrictEqual(scan.unread, [join(open, "secret")])
    } else {
      writeFileSync(join(root, "secret"), text, { mode: 0o000 })
      assert.deepStrictEqual((await scanDirectories(canary, [root])).unread, [join(root, "secret")])
    }
  })

  it("canaries that chance would find are refused", () => {
    assert.throws(() => canaryOf("short"), /12 bytes/)
    assert.throws(() => canaryOf("long enough canary", [[1, 2, 3]]), /token ids/)
  })
})
