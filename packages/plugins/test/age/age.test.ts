import { execFileSync, spawnSync } from "node:child_process"
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { openFile } from "@hypernode/engine/keys/age/File"
import { generateIdentity, recipientOf } from "@hypernode/engine/keys/age/X25519"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { Sealed } from "@hypernode/engine/stage/values"
import { ProgressLines } from "@hypernode/engine/testing/stageServices"
import { age } from "../../src/age/index.ts"
import { Options } from "../../src/age/Options.ts"
import plugin from "../../src/age/plugin.ts"
import { alive, chatRow, encrypt, opened, provided, source, tagged } from "./sealing.ts"

const hasAge = spawnSync("age", ["--version"]).status === 0
const lines = (n: number) => Array.from({ length: n }, (_, i) => chatRow(i))

describe("age: segments", () => {
  it.effect("hold the rows in order, whole, opened by the data set's key alone", () =>
    provided(Effect.gen(function*() {
      const rows = lines(240)
      const sealed = yield* encrypt(yield* source(`${rows.join("\n")}\n`, 240))
      yield* Schema.decodeUnknownEffect(Sealed)(JSON.parse(JSON.stringify(sealed)))
      assert.strictEqual(sealed.segments.length, 16)
      assert.strictEqual(sealed.rows, 240)
      assert.deepStrictEqual(sealed.segments.map((s) => s.index), Array.from({ length: 16 }, (_, i) => i))
      const plain = yield* opened(sealed)
      assert.strictEqual(Buffer.concat(plain).toString(), `${rows.join("\n")}\n`)
      for (const [i, segment] of sealed.segments.entries()) {
        assert.strictEqual(segment.bytes, plain[i]!.length)
        assert.strictEqual(segment.rows, plain[i]!.toString().split("\n").length - 1)
        assert.strictEqual(segment.artifact.mediaType, "application/age")
        assert.isUndefined(segment.tokens)
      }
      const file = yield* (yield* ArtifactStore).read(sealed.segments[0]!.artifact)
      assert.throws(() => openFile(file, generateIdentity()), /not for this identity/)
      assert.notInclude(JSON.stringify(sealed), "AGE-SECRET-KEY")
    })))

  it.effect("are normalised: CRLF, a byte order mark, blank lines and a missing last line end make the same plaintext", () =>
    provided(Effect.gen(function*() {
      const rows = lines(5)
      for (const text of [rows.join("\r\n"), `\uFEFF${rows.join("\n")}`, `\n \n${rows.join("\n\n")}\n\t\n`, rows.map((row) => `  ${row} \t`).join("\n")]) {
        const sealed = yield* encrypt(yield* source(text, 5))
        assert.strictEqual(Buffer.concat(yield* opened(sealed)).toString(), `${rows.join("\n")}\n`)
      }
    })))

  it.effect("hold the same whatever stands between rows, wherever a segment ends", () =>
    provided(Effect.gen(function*() {
      const rows = Array.from({ length: 3000 }, (_, i) => chatRow(i, "x".repeat((i * 37) % 900)))
      const between = ["\n", "\n", "\n", "\r\n", "  \n", "\t\r\n", "\n\n", "\n \n  ", "\n\t"]
      const text = rows.map((row, i) => `${row}${between[(i * i + (i >> 3)) % between.length]}`).join("")
      for (const [segmentBytes, segmentRows] of [[64 << 10, 3000], [200_000, 3000], [4 << 20, 3000], [4 << 20, 7]] as const) {
        const sealed = yield* encrypt(yield* source(text, rows.length), { segmentBytes, segmentRows })
        assert.strictEqual(Buffer.concat(yield* opened(sealed)).toString(), `${rows.join("\n")}\n`)
      }
    })))

  it.effect("keep to the limits, and a longer row stands alone", () =>
    provided(Effect.gen(function*() {
      const rows = [chatRow(0), chatRow(1, "x".repeat(200_000)), chatRow(2), ...lines(5000)]
      const sealed = yield* encrypt(yield* source(rows.join("\n"), rows.length), { segmentBytes: 65_536, segmentRows: 500 })
      for (const segment of sealed.segments) assert.isTrue((segment.bytes <= 65_536 && segment.rows <= 500) || segment.rows === 1)
      assert.isTrue(sealed.segments.some((s) => s.bytes > 200_000))
      assert.strictEqual(Buffer.concat(yield* opened(sealed)).toString(), `${rows.join("\n")}\n`)
    })))

  it.effect("a large data set, sealed by threads, gives the same rows; two runs the same segments under the same key", () =>
    provided(Effect.gen(function*() {
      const rows = Array.from({ length: 9000 }, (_, i) => chatRow(i, "y".repeat(2000)))
      const dataset = yield* source(rows.join("\n"), rows.length)
      assert.isAbove(dataset.bytes, 16 << 20)
      const sealed = yield* encrypt(dataset, { segmentBytes: 1 << 20 })
      assert.strictEqual(Buffer.concat(yield* opened(sealed)).toString(), `${rows.join("\n")}\n`)
      const again = yield* encrypt(dataset, { segmentBytes: 1 << 20 })
      assert.deepStrictEqual(again.segments.map(({ bytes, rows }) => [bytes, rows]), sealed.segments.map(({ bytes, rows }) => [bytes, rows]))
      assert.strictEqual(again.keyId, sealed.keyId)
      assert.notStrictEqual(again.segments[0]!.artifact.digest, sealed.segments[0]!.artifact.digest)
    })))

  it.effect.skipIf(!hasAge)("Debian's age opens them, with the home's key and with the owner's (skipped where it is not installed)", () =>
    provided(Effect.gen(function*() {
      const home = yield* CurrentHome
      const owner = generateIdentity()
      const sealed = yield* encrypt(yield* source(lines(40).join("\n"), 40), { recipients: [recipientOf(owner)] })
      assert.strictEqual(sealed.recipients.length, 2)
      const ownerFile = join(home.root, "owner.txt")
      yield* Effect.promise(() => writeFile(ownerFile, `${owner}\n`))
      const plain = yield* opened(sealed)
      for (const [i, segment] of sealed.segments.entries()) {
        const path = yield* (yield* ArtifactStore).path(segment.artifact)
        for (const identity of [ownerFile, join(home.keys, sealed.keyId.replace("/", "%2F"))]) {
          const result = spawnSync("age", ["-d", "-i", identity, path])
          assert.strictEqual(result.status, 0, result.stderr.toString())
          assert.isTrue(result.stdout.equals(plain[i]!))
        }
      }
    })))
})

describe("age: what is refused", () => {
  const canary = "CANARY-1b7d"
  const cases: ReadonlyArray<readonly [string, (rows: Array<string>) => string | Buffer, RegExp]> = [
    ["an empty file", () => "", /no rows/],
    ["blank lines only", () => "\n\n", /no rows/],
    ["a cut row", (rows) => [...rows, chatRow(9, canary).slice(0, -4)].join("\n"), /line 6: the row is not a JSON object/],
    ["a foreign line", (rows) => [rows[0], "", canary, rows[1]].join("\n"), /line 3: the row is not a JSON object/],
    ["bytes that are not UTF-8", (rows) => Buffer.concat([Buffer.from(`${rows[0]}\n{"text":"${canary}`), Buffer.from([0xc3, 0x28]), Buffer.from('"}\n')]), /line 2: the row is not UTF-8/],
    ["a row of 100 MB", (rows) => `${rows[0]}\n{"text":"${canary}${"x".repeat(100 << 20)}"}\n`, /line 2: the row is longer than 16 MiB/]
  ]
  for (const [name, make, expected] of cases) {
    it.effect(`${name}: named by line, without the content`, () =>
      provided(Effect.gen(function*() {
        const error = yield* Effect.flip(encrypt(yield* source(make(lines(5)), 5)))
        assert.strictEqual(error.reason, "InvalidInput")
        assert.match(error.message, expected)
        assert.include(error.message, "rows.jsonl")
        assert.notInclude(JSON.stringify(error) + (yield* ProgressLines).join(), canary)
      })))
  }

  it.effect("a file that was changed since it was selected", () =>
    provided(Effect.gen(function*() {
      const dataset = yield* source(lines(50).join("\n"), 50)
      yield* Effect.promise(() => appendFile(dataset.uri, `\n${chatRow(50)}`))
      const error = yield* Effect.flip(encrypt(dataset))
      assert.strictEqual(error.reason, "InvalidInput")
      assert.match(error.message, /changed since/)
      assert.isString(error.remedy)
    })))

  it.effect("one that was selected with a fast tag and changed without growing; an altered tag or commitment", () =>
    provided(Effect.gen(function*() {
      const text = lines(50).join("\n")
      const dataset = yield* tagged(yield* source(text, 50))
      assert.strictEqual((yield* encrypt(dataset)).rows, 50)
      assert.strictEqual((yield* encrypt(dataset)).commitment, dataset.commitment)
      const commitment = dataset.commitment.replace(/.$/, (last) => (last === "0" ? "1" : "0"))
      const tag = dataset.tag.replace(/.$/, (last) => (last === "0" ? "1" : "0"))
      for (const altered of [{ ...dataset, tag }, { ...dataset, commitment }]) assert.match((yield* Effect.flip(encrypt(altered))).message, /changed since/)
      yield* Effect.promise(() => writeFile(dataset.uri, text.replace("question 7", "question 8")))
      assert.match((yield* Effect.flip(encrypt(dataset))).message, /changed since/)
    })))

  it.effect("a file that is gone, a URL, a salt that was destroyed, a mistyped recipient", () =>
    provided(Effect.gen(function*() {
      const dataset = yield* source(lines(5).join("\n"), 5)
      assert.match((yield* Effect.flip(encrypt({ ...dataset, uri: `${dataset.uri}.gone` }))).message, /does not exist/)
      assert.match((yield* Effect.flip(encrypt({ ...dataset, uri: "https://example.org/x.jsonl" }))).message, /URL/)
      assert.strictEqual((yield* Effect.flip(encrypt({ ...dataset, saltKey: "salt/none" }))).reason, "Missing")
      const mistyped = `age1${"q".repeat(58)}`
      assert.match((yield* Effect.flip(encrypt(dataset, { recipients: [mistyped] }))).message, /checksum/)
      const notes = (yield* plugin.stages.encrypt!.estimate!({ recipients: [mistyped], segmentBytes: 1 << 20 }, { projectDirectory: "/" })).notes
      assert.strictEqual(notes[0]!.level, "refuse")
    })))

  it("wrong options", () => {
    const decode = Schema.decodeUnknownSync(Options)
    assert.deepStrictEqual(decode({}), { recipients: [], segmentBytes: 4 << 20 })
    for (const bad of [{ recipients: ["age1pqxyz"] }, { recipients: ["ssh-ed25519 AAAA"] }, { segmentBytes: 10 }, { segmentBytes: 1 << 30 }, { segmentRows: 0 }]) assert.throws(() => decode(bad))
    assert.deepStrictEqual(age(), { kind: "encrypt", plugin: { id: "age", specifier: "@hypernode/plugins/age" }, options: {} })
  })
})

describe("age: cache", () => {
  it.effect("a result lives as long as its key and its segments, and says why it died", () =>
    provided(Effect.gen(function*() {
      const keyring = yield* Keyring
      const log = yield* ProgressLines
      const dataset = yield* source(lines(20).join("\n"), 20)
      const sealed = yield* encrypt(dataset)
      assert.isTrue(yield* alive(sealed))
      yield* keyring.destroy(sealed.keyId)
      assert.isFalse(yield* alive(sealed))
      assert.include(log.at(-1)!, `${sealed.keyId} was destroyed`)
      // the same data set sealed anew gets a new key under the same name: the old segments stay closed
      const again = yield* encrypt(dataset)
      assert.strictEqual(again.keyId, sealed.keyId)
      assert.isTrue(yield* alive(again))
      assert.isFalse(yield* alive(sealed))
      assert.include(log.at(-1)!, "was replaced")
      const path = yield* (yield* ArtifactStore).path(again.segments[3]!.artifact)
      yield* Effect.promise(() => import("node:fs/promises").then((fs) => fs.rm(path)))
      assert.isFalse(yield* alive(again))
      assert.include(log.at(-1)!, "segment 3")
    })))
})

describe("age: a failed run", () => {
  it.effect("leaves no temporary file and no plaintext", () =>
    provided(Effect.gen(function*() {
      const home = yield* CurrentHome
      yield* Effect.flip(encrypt(yield* source([...lines(300), "CANARY-9a"].join("\n"), 301), { segmentRows: 10 }))
      const files = (yield* Effect.promise(() => readdir(home.root, { recursive: true, withFileTypes: true }))).filter((e) => e.isFile())
      assert.deepStrictEqual(files.filter((e) => e.parentPath.endsWith("tmp")), [])
      for (const file of files) {
        const bytes = yield* Effect.promise(() => readFile(join(file.parentPath, file.name)))
        assert.isFalse(bytes.includes("question"), file.name)
      }
    })))

  const large = Array.from({ length: 9000 }, (_, i) => chatRow(i, "z".repeat(2000)))

  it.effect("one that is cancelled while threads write leaves no temporary file", () =>
    provided(Effect.gen(function*() {
      const home = yield* CurrentHome
      const dataset = yield* source(large.join("\n"), large.length)
      const written = Effect.promise(() => readdir(join(home.artifacts, "tmp"), { recursive: true }))
      const fiber = yield* Effect.forkChild(encrypt(dataset, { segmentBytes: 64 << 10 }), { startImmediately: true })
      // the staging directory and a file in it
      while ((yield* written).length < 2) yield* Effect.promise(() => new Promise((go) => setTimeout(go, 2)))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* written, [])
    })))

  const mountable = process.platform === "linux" && process.getuid?.() === 0
  it.effect.skipIf(!mountable)("one for which the disk is too small says so, and leaves no temporary file (needs root, for a small tmpfs)", () =>
    provided(Effect.gen(function*() {
      const home = yield* CurrentHome
      const dataset = yield* source(large.join("\n"), large.length)
      yield* Effect.acquireRelease(
        Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", home.artifacts])),
        () => Effect.sync(() => execFileSync("umount", [home.artifacts]))
      )
      for (const directory of ["tmp", "blobs/sha256"]) yield* Effect.promise(() => mkdir(join(home.artifacts, directory), { recursive: true }))
      const error = yield* Effect.flip(encrypt(dataset))
      assert.strictEqual(error.reason, "OutOfSpace")
      assert.include(error.message, "HYPER_HOME")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(home.artifacts, "tmp"))), [])
    }).pipe(Effect.scoped)))
})
