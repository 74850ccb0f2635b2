import { createPublicKey, verify } from "node:crypto"
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as SecretsLayer from "../../src/capability/Secrets.layer.ts"
import * as FileKeyring from "../../src/keys/FileKeyring.ts"
import { temporaryHome } from "../../src/testing/stageServices.ts"

const mode = (path: string) => Effect.promise(() => stat(path).then((s) => s.mode & 0o777))
const keys = Effect.map(temporaryHome, (home) => home.keys)

describe("FileKeyring", () => {
  it.effect("makes, keeps, lists and destroys keys in private files", () =>
    Effect.gen(function*() {
      const directory = yield* keys
      const keyring = yield* FileKeyring.make(directory)
      assert.strictEqual((yield* Effect.flip(keyring.get("dataset/a")))._tag, "KeyMissing")
      assert.isFalse(yield* keyring.has("dataset/a"))
      assert.strictEqual(Redacted.value(yield* keyring.getOrCreate("dataset/a", () => "first")), "first")
      assert.strictEqual(Redacted.value(yield* keyring.getOrCreate("dataset/a", () => "second")), "first")
      yield* keyring.getOrCreate("dataset/b", () => "b")
      yield* keyring.getOrCreate("salt/a", () => "s")
      assert.deepStrictEqual(yield* keyring.names("dataset/"), ["dataset/a", "dataset/b"])
      assert.strictEqual(yield* mode(directory), 0o700)
      for (const file of yield* Effect.promise(() => readdir(directory))) assert.strictEqual(yield* mode(join(directory, file)), 0o600)
      yield* keyring.destroy("dataset/a")
      yield* keyring.destroy("dataset/a")
      assert.isFalse(yield* keyring.has("dataset/a"))
      assert.strictEqual(Redacted.value(yield* (yield* FileKeyring.make(directory)).get("dataset/b")), "b")
      assert.notInclude(String(yield* keyring.get("dataset/b")), "b\"")
    }))

  it.effect("of many callers at once one makes the key, and all get it", () =>
    Effect.gen(function*() {
      const directory = yield* keys
      const made = yield* Effect.forEach(Array.from({ length: 40 }, (_, i) => i), (i) =>
        Effect.flatMap(FileKeyring.make(directory), (keyring) => keyring.getOrCreate("lease", () => `value ${i}`)), { concurrency: "unbounded" })
      assert.strictEqual(new Set(made.map(Redacted.value)).size, 1)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(directory)), ["lease"])
    }))

  it.effect("signs with ed25519", () =>
    Effect.gen(function*() {
      const keyring = yield* FileKeyring.make(yield* keys)
      const bytes = Buffer.from("a batch")
      const [publicKey, signature] = [yield* keyring.publicKey("node"), yield* keyring.sign("node", bytes)]
      assert.strictEqual(Buffer.from(publicKey, "base64").length, 32)
      const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: Buffer.from(publicKey, "base64").toString("base64url") }, format: "jwk" })
      assert.isTrue(verify(null, bytes, key, Buffer.from(signature, "base64")))
      assert.isFalse(verify(null, Buffer.from("another"), key, Buffer.from(signature, "base64")))
      assert.strictEqual(yield* keyring.publicKey("node"), publicKey)
      yield* keyring.getOrCreate("text", () => "not a key: SECRET")
      assert.notInclude((yield* Effect.flip(keyring.sign("text", bytes))).message, "SECRET")
    }))

  it.effect("refuses keys that others may read, links, and names that lead out, with a remedy", () =>
    Effect.gen(function*() {
      const directory = yield* keys
      const keyring = yield* FileKeyring.make(directory)
      yield* keyring.getOrCreate("node", () => "SECRET")
      yield* Effect.promise(() => chmod(join(directory, "node"), 0o640))
      for (const effect of [keyring.get("node"), keyring.getOrCreate("node", () => "other"), keyring.sign("node", Buffer.from(""))]) {
        const error = yield* Effect.flip(effect as Effect.Effect<unknown, { readonly message: string }>)
        assert.include(error.message, `chmod 600 ${join(directory, "node")}`)
        assert.notInclude(error.message, "SECRET")
      }
      yield* Effect.promise(async () => {
        await writeFile(join(directory, "..", "outside"), "SECRET", { mode: 0o600 })
        await symlink("../outside", join(directory, "linked"))
      })
      assert.match((yield* Effect.flip(keyring.get("linked"))).message, /symbolic link/)
      for (const name of ["", "..", "../outside", "/etc/shadow", "a//b", "a/", ".hidden", "a\0b", "a%2Fb", "a b", "x".repeat(300)]) {
        assert.match((yield* Effect.flip(keyring.getOrCreate(name, () => "x"))).message, /not a key name/, JSON.stringify(name))
      }
      assert.strictEqual(yield* Effect.promise(() => readFile(join(directory, "..", "outside"), "utf8")), "SECRET")
    }))

  it.effect("refuses a directory that others may write to, tightens one they may only list", () =>
    Effect.gen(function*() {
      const directory = yield* keys
      yield* Effect.promise(() => mkdir(directory, { recursive: true }).then(() => chmod(directory, 0o755)))
      yield* FileKeyring.make(directory)
      assert.strictEqual(yield* mode(directory), 0o700)
      yield* Effect.promise(() => chmod(directory, 0o770))
      assert.include((yield* Effect.flip(FileKeyring.make(directory))).message, `chmod 700 ${directory}`)
    }))
})

describe("Secrets", () => {
  it.effect("come from the environment for the own tenant only, then from the keyring", () =>
    Effect.gen(function*() {
      const directory = yield* keys
      const secrets = SecretsLayer.make(directory, { HF_TOKEN: "from-environment", EMPTY: "" })
      const get = (tenant: string, name: string) => Effect.map(secrets.get(tenant, { $secret: name }), Redacted.value)
      assert.strictEqual(yield* get("default", "HF_TOKEN"), "from-environment")
      const missing = yield* Effect.flip(get("acme", "HF_TOKEN"))
      assert.include(missing.message, "hyper keys set HF_TOKEN")
      assert.include((yield* Effect.flip(get("default", "EMPTY"))).message, "EMPTY")
      yield* secrets.set("acme", "HF_TOKEN", Redacted.make("of acme"))
      yield* secrets.set("acme", "HF_TOKEN", Redacted.make("of acme, later"))
      yield* secrets.set("acme", "_PRIVATE", Redacted.make("x"))
      assert.strictEqual(yield* get("acme", "HF_TOKEN"), "of acme, later")
      assert.deepStrictEqual(yield* secrets.names("acme"), ["HF_TOKEN", "_PRIVATE"])
      assert.deepStrictEqual(yield* secrets.names("default"), [])
      assert.deepStrictEqual(yield* secrets.names("acm"), [])
      assert.strictEqual((yield* Effect.flip(get("default", "../node")))._tag, "SecretMissing")
      assert.notInclude(String(yield* secrets.get("acme", { $secret: "HF_TOKEN" })), "acme, later")
    }))
})
