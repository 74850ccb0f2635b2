/**
 * age's native keys (age-encryption.org/v1, "The X25519 recipient type"): bech32 `age1...` and `AGE-SECRET-KEY-1...`, and the stanza that
 * wraps a file key. On node:crypto: the npm package `age-encryption` cannot wrap a given file key, which a re-wrap needs.
 */
import { bech32 } from "@scure/base"
import { createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, diffieHellman, hkdfSync, type KeyObject, randomBytes } from "node:crypto"

export const FILE_KEY_BYTES = 16

export interface Stanza {
  readonly args: ReadonlyArray<string>
  readonly body: Buffer
}

/** A key or an age file is not what it should be; `message` holds no key material. */
export class AgeFault extends Error {}

const PKCS8_X25519 = Buffer.from("302e020100300506032b656e04220420", "hex")
const SPKI_X25519 = Buffer.from("302a300506032b656e032100", "hex")

const privateKey = (scalar: Uint8Array): KeyObject => createPrivateKey({ key: Buffer.concat([PKCS8_X25519, scalar]), format: "der", type: "pkcs8" })
const publicKey = (point: Uint8Array): KeyObject => createPublicKey({ key: Buffer.concat([SPKI_X25519, point]), format: "der", type: "spki" })
const pointOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: "der", type: "spki" }).subarray(SPKI_X25519.length)

const decode = (text: string, prefix: string, what: string): Uint8Array => {
  try {
    const { bytes, prefix: found } = bech32.decodeToBytes(text)
    if (found === prefix && bytes.length === 32) return bytes
  } catch {
    // the decoder's message quotes the text
  }
  throw new AgeFault(`not ${what}`)
}

/** 32 bytes of the point. Throws AgeFault. */
export const decodeRecipient = (recipient: string): Uint8Array => decode(recipient, "age", "an age recipient (age1..., X25519)")

const decodeIdentity = (identity: string): Uint8Array => {
  const text = identity.trim()
  if (text !== text.toUpperCase()) throw new AgeFault("not an age identity (AGE-SECRET-KEY-1...)")
  return decode(text.toLowerCase(), "age-secret-key-", "an age identity (AGE-SECRET-KEY-1...)")
}

export const generateIdentity = (): string => bech32.encodeFromBytes("AGE-SECRET-KEY-", randomBytes(32)).toUpperCase()

export const recipientOf = (identity: string): string => bech32.encodeFromBytes("age", pointOf(privateKey(decodeIdentity(identity))))

const wrapKey = (own: KeyObject, other: Uint8Array, share: Uint8Array, recipient: Uint8Array): Buffer => {
  let shared: Buffer
  try {
    shared = diffieHellman({ privateKey: own, publicKey: publicKey(other) })
  } catch {
    throw new AgeFault("the key exchange failed: a point of low order")
  }
  if (shared.every((byte) => byte === 0)) throw new AgeFault("the key exchange failed: a point of low order")
  return Buffer.from(hkdfSync("sha256", shared, Buffer.concat([share, recipient]), "age-encryption.org/v1/X25519", 32))
}

const NO_NONCE = Buffer.alloc(12)
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")

/** A stanza that only the recipient's identity can open. Throws AgeFault. */
export const wrapFileKey = (fileKey: Uint8Array, recipient: string): Stanza => {
  const point = decodeRecipient(recipient)
  const ephemeral = privateKey(randomBytes(32))
  const share = pointOf(ephemeral)
  const cipher = createCipheriv("chacha20-poly1305", wrapKey(ephemeral, point, share, point), NO_NONCE, { authTagLength: 16 })
  return { args: ["X25519", base64(share)], body: Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]) }
}

/** The file key, or undefined where the stanza is for somebody else. Throws AgeFault for a malformed X25519 stanza. */
export const unwrapFileKey = (stanza: Stanza, identity: string): Buffer | undefined => {
  if (stanza.args[0] !== "X25519") return undefined
  const encoded = stanza.args[1] ?? ""
  const share = Buffer.from(encoded, "base64")
  // The length check stands before decryption: an age file of another key size could be used to find out which key it is for.
  if (stanza.args.length !== 2 || share.length !== 32 || base64(share) !== encoded || stanza.body.length !== FILE_KEY_BYTES + 16) throw new AgeFault("malformed X25519 stanza")
  const own = privateKey(decodeIdentity(identity))
  const decipher = createDecipheriv("chacha20-poly1305", wrapKey(own, share, share, pointOf(own)), NO_NONCE, { authTagLength: 16 })
  decipher.setAuthTag(stanza.body.subarray(FILE_KEY_BYTES))
  try {
    return Buffer.concat([decipher.update(stanza.body.subarray(0, FILE_KEY_BYTES)), decipher.final()])
  } catch {
    return undefined
  }
}
