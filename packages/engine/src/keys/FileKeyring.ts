/**
 * The default Keyring: key files below `<home>/keys`. Names in use: `node` (this machine's ed25519 identity), `lease`, `dataset/<id>`
 * (age identities), `salt/<id>`, `endpoint/<id>`, `secret/<tenant>/<name>`.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { createKeyFile, destroyKeyFile, KeyFileFault, keyNames, prepareKeyDirectory, readKeyFile } from "./keyFile.ts"
import { Keyring, KeyMissing, KeyringIo } from "./Keyring.ts"

const newSigningKey = (): string => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString()

const keyringIo = (what: string, cause: unknown): KeyringIo => {
  if (cause instanceof KeyFileFault) return new KeyringIo({ message: cause.message })
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
  return new KeyringIo({ message: `${what} failed (${code}). Check that the key directory of this home can be written and the disk is not full.` })
}

const attempt = <A>(what: string, call: () => Promise<A>): Effect.Effect<A, KeyringIo> =>
  Effect.uninterruptible(Effect.tryPromise({ try: call, catch: (cause) => keyringIo(what, cause) }))

export const make = Effect.fnUntraced(function*(directory: string) {
  yield* attempt(`Preparing the key directory ${directory}`, () => prepareKeyDirectory(directory))

  const read = (name: string) => attempt(`Reading the key "${name}"`, () => readKeyFile(directory, name))

  const getOrCreate = Effect.fnUntraced(function*(name: string, makeKey: () => string) {
    const there = yield* read(name)
    if (there !== undefined) return Redacted.make(there)
    const made = makeKey()
    if (yield* attempt(`Storing the key "${name}"`, () => createKeyFile(directory, name, made))) return Redacted.make(made)
    const won = yield* read(name)
    if (won === undefined) return yield* new KeyringIo({ message: `The key "${name}" was destroyed while it was being made. Try again.` })
    return Redacted.make(won)
  })

  const signingKey = Effect.fnUntraced(function*(name: string): Effect.fn.Return<KeyObject, KeyringIo> {
    const pem = yield* getOrCreate(name, newSigningKey)
    const key = yield* Effect.try({
      try: () => createPrivateKey(Redacted.value(pem)),
      catch: () => new KeyringIo({ message: `The key "${name}" is not a signing key (PKCS #8 PEM, ed25519).` })
    })
    if (key.asymmetricKeyType !== "ed25519") return yield* new KeyringIo({ message: `The key "${name}" is not an ed25519 key.` })
    return key
  })

  return Keyring.of({
    get: Effect.fnUntraced(function*(name) {
      const value = yield* read(name)
      if (value === undefined) return yield* new KeyMissing({ name, message: `The keyring of this home has no key "${name}": it was never made here, or it was destroyed.` })
      return Redacted.make(value)
    }),
    getOrCreate,
    has: (name) => Effect.map(read(name), (value) => value !== undefined),
    names: (prefix) => attempt("Listing the keys", () => keyNames(directory, prefix)),
    destroy: (name) => attempt(`Destroying the key "${name}"`, () => destroyKeyFile(directory, name)),
    sign: (name, bytes) => Effect.map(signingKey(name), (key) => sign(null, bytes, key).toString("base64")),
    publicKey: (name) =>
      Effect.map(signingKey(name), (key) => {
        const jwk = createPublicKey(key).export({ format: "jwk" })
        return Buffer.from(jwk.x ?? "", "base64url").toString("base64")
      })
  })
})

/** Fails where the directory cannot be made or others may read it. */
export const layer = Layer.effect(Keyring, Effect.flatMap(CurrentHome, (home) => make(home.keys)))
