import { execFileSync, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { openFile, sealFile } from "../../src/keys/age/File.ts"
import { parseHeader, rewrapHeader } from "../../src/keys/age/Header.ts"
import { CHUNK_BYTES } from "../../src/keys/age/Payload.ts"
import { AgeFault, generateIdentity, recipientOf } from "../../src/keys/age/X25519.ts"

const directory = mkdtempSync(join(tmpdir(), "age-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const hasAge = spawnSync("age", ["--version"]).status === 0
if (!hasAge && process.env["CI"] === "true") throw new Error("Debian's `age` is needed for the interoperation tests: apt-get install age")
const python = process.env["HYPER_PYTHON"]
const hasPyrage = python !== undefined && spawnSync(python, ["-c", "import pyrage"]).status === 0

const me = generateIdentity()
const other = generateIdentity()
const identityFile = (identity: string): string => {
  const path = join(directory, randomBytes(6).toString("hex"))
  writeFileSync(path, `${identity}\n`, { mode: 0o600 })
  return path
}
const ageDecrypt = (file: Uint8Array, identity: string) => spawnSync("age", ["-d", "-i", identityFile(identity)], { input: file, maxBuffer: 1 << 28 })
const sizes = [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 5 * CHUNK_BYTES + 17]

const fault = (run: () => unknown, name = "input"): AgeFault => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, AgeFault)
    return error as AgeFault
  }
  throw new Error(`${name}: it was accepted`)
}

describe("age v1", () => {
  it("opens what it seals, at every length around the chunk size", () => {
    for (const size of sizes) {
      const plaintext = randomBytes(size)
      assert.isTrue(openFile(sealFile(plaintext, [recipientOf(other), recipientOf(me)]), me).equals(plaintext), `${size} bytes`)
    }
  })

  it.skipIf(!hasAge)("Debian's age opens ours (skipped where it is not installed)", () => {
    for (const size of sizes) {
      const plaintext = randomBytes(size)
      const sealed = sealFile(plaintext, [recipientOf(me), recipientOf(other)])
      for (const identity of [me, other]) {
        const result = ageDecrypt(sealed, identity)
        assert.strictEqual(result.status, 0, result.stderr.toString())
        assert.isTrue(result.stdout.equals(plaintext), `${size} bytes`)
      }
    }
  })

  it.skipIf(!hasAge)("ours opens Debian's age, its keys included (skipped where it is not installed)", () => {
    const generated = execFileSync("age-keygen", { stdio: ["ignore", "pipe", "ignore"] }).toString()
    const identity = /^AGE-SECRET-KEY-1\S+/m.exec(generated)![0]
    assert.strictEqual(recipientOf(identity), /public key: (\S+)/.exec(generated)![1])
    for (const size of sizes) {
      const plaintext = randomBytes(size)
      const sealed = execFileSync("age", ["-r", recipientOf(other), "-r", recipientOf(identity)], { input: plaintext, maxBuffer: 1 << 28 })
      assert.isTrue(openFile(sealed, identity).equals(plaintext), `${size} bytes`)
    }
  })

  it("the npm package age-encryption opens ours, and ours opens its", async () => {
    const { Decrypter, Encrypter } = await import("age-encryption")
    const plaintext = randomBytes(CHUNK_BYTES + 5)
    const decrypter = new Decrypter()
    decrypter.addIdentity(me)
    assert.isTrue(Buffer.from(await decrypter.decrypt(sealFile(plaintext, [recipientOf(me)]))).equals(plaintext))
    const encrypter = new Encrypter()
    encrypter.addRecipient(recipientOf(me))
    assert.isTrue(openFile(await encrypter.encrypt(plaintext), me).equals(plaintext))
  })

  it.skipIf(!hasPyrage)("pyrage opens ours (skipped where HYPER_PYTHON has no pyrage)", () => {
    const plaintext = randomBytes(CHUNK_BYTES + 5)
    const program = "import sys, pyrage; i = pyrage.x25519.Identity.from_str(open(sys.argv[1]).read().strip()); sys.stdout.buffer.write(pyrage.decrypt(sys.stdin.buffer.read(), [i]))"
    const out = execFileSync(python!, ["-c", program, identityFile(me)], { input: sealFile(plaintext, [recipientOf(me)]), maxBuffer: 1 << 28 })
    assert.isTrue(out.equals(plaintext))
  })

  it("refuses every truncation, move, repetition, addition and flipped bit", () => {
    const plaintext = randomBytes(3 * CHUNK_BYTES + 10)
    const sealed = sealFile(plaintext, [recipientOf(me)])
    const start = parseHeader(sealed).size + 16
    const chunk = CHUNK_BYTES + 16
    const at = (i: number) => sealed.subarray(start + i * chunk, start + (i + 1) * chunk)
    const head = sealed.subarray(0, start)
    const changed: Record<string, Buffer> = {
      "cut inside the header": sealed.subarray(0, 60),
      "cut after the header": head,
      "cut at a chunk": Buffer.concat([head, at(0), at(1)]),
      "last chunk gone": Buffer.concat([head, at(0), at(1), at(2)]),
      "cut by one byte": sealed.subarray(0, -1),
      "swapped chunks": Buffer.concat([head, at(1), at(0), at(2), at(3)]),
      "a chunk left out": Buffer.concat([head, at(0), at(2), at(3)]),
      "a chunk twice": Buffer.concat([head, at(0), at(0), at(1), at(2), at(3)]),
      "a byte added": Buffer.concat([sealed, Buffer.from([0])]),
      "the last chunk twice": Buffer.concat([sealed, at(3)])
    }
    for (let i = 0; i < 400; i++) {
      const flipped = Buffer.from(sealed)
      const byte = i < 250 ? i % (start + 40) : Math.floor((i / 400) * sealed.length)
      flipped[byte] = flipped[byte]! ^ (1 << (i % 8))
      changed[`bit ${i % 8} of byte ${byte}`] = flipped
    }
    for (const [name, file] of Object.entries(changed)) fault(() => openFile(file, me), name)
    // the check itself catches what opens
    assert.throws(() => fault(() => openFile(sealed, me), "untouched"), /untouched: it was accepted/)
  })

  it("another identity does not open it, and errors hold no key", () => {
    const sealed = sealFile(randomBytes(10), [recipientOf(me)])
    assert.match(fault(() => openFile(sealed, other)).message, /not for this identity/)
    assert.notInclude(fault(() => recipientOf(`${me}x`)).message, me.slice(20, 40))
    for (const recipient of ["", "age1", "age1xyz", me, recipientOf(me).slice(0, -1), `${recipientOf(me)}q`]) fault(() => sealFile(Buffer.alloc(1), [recipient]))
    fault(() => sealFile(Buffer.alloc(1), []))
  })

  it("refuses points of low order", () => {
    const sealed = sealFile(randomBytes(10), [recipientOf(me)]).toString("latin1")
    const zero = Buffer.alloc(32).toString("base64").replace(/=+$/, "")
    fault(() => openFile(Buffer.from(sealed.replace(/X25519 \S+/, `X25519 ${zero}`), "latin1"), me))
  })

  it("a re-wrapped header opens the untouched payload for the new key alone", () => {
    const plaintext = randomBytes(2 * CHUNK_BYTES)
    const sealed = sealFile(plaintext, [recipientOf(me)])
    const { header, payloadOffset } = rewrapHeader(sealed, me, recipientOf(other))
    assert.strictEqual(header.length, payloadOffset)
    const file = Buffer.concat([header, sealed.subarray(payloadOffset)])
    assert.isTrue(openFile(file, other).equals(plaintext))
    fault(() => openFile(file, me))
    fault(() => rewrapHeader(sealed, other, recipientOf(other)))
    if (!hasAge) return
    assert.isTrue(ageDecrypt(file, other).stdout.equals(plaintext))
    assert.notStrictEqual(ageDecrypt(file, me).status, 0)
  })
})
