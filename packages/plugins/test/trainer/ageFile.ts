/** Just enough of age v1 (age-encryption.org/v1) to make segments and wrap their file keys anew: independent of the product's code, read by pyrage. */
import { createCipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, randomBytes, type KeyObject } from "node:crypto"
import { bech32 } from "@scure/base"

const CHUNK = 64 * 1024
const unpadded = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")
const hkdf = (key: Uint8Array, salt: Uint8Array, info: string): Buffer => Buffer.from(hkdfSync("sha256", key, salt, info, 32))

const seal = (key: Buffer, nonce: Buffer, plaintext: Uint8Array): Buffer => {
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

const rawPublic = (key: KeyObject): Buffer => Buffer.from(key.export({ format: "jwk" }).x as string, "base64url")
const publicFromRaw = (raw: Uint8Array): KeyObject => createPublicKey({ key: { kty: "OKP", crv: "X25519", x: Buffer.from(raw).toString("base64url") }, format: "jwk" })

/** `age1...` -> 32 bytes. */
export const recipientBytes = (recipient: string): Uint8Array => {
  const { prefix, words } = bech32.decode(recipient as `${string}1${string}`, false)
  if (prefix !== "age") throw new Error("not an age recipient")
  return bech32.fromWords(words)
}

/** A whole header for one X25519 recipient, up to and including the newline after the MAC. */
export const wrap = (fileKey: Uint8Array, recipient: Uint8Array): Buffer => {
  const { privateKey, publicKey } = generateKeyPairSync("x25519")
  const share = rawPublic(publicKey)
  const shared = diffieHellman({ privateKey, publicKey: publicFromRaw(recipient) })
  const body = seal(hkdf(shared, Buffer.concat([share, recipient]), "age-encryption.org/v1/X25519"), Buffer.alloc(12), fileKey)
  const text = `age-encryption.org/v1\n-> X25519 ${unpadded(share)}\n${unpadded(body)}\n---`
  const mac = createHmac("sha256", hkdf(fileKey, Buffer.alloc(0), "header")).update(text).digest()
  return Buffer.from(`${text} ${unpadded(mac)}\n`)
}

/** The bytes after the header. */
export const payload = (fileKey: Uint8Array, plaintext: Uint8Array): Buffer => {
  const nonce = randomBytes(16)
  const key = hkdf(fileKey, nonce, "payload")
  const count = Math.max(1, Math.ceil(plaintext.length / CHUNK))
  const chunks: Array<Buffer> = [nonce]
  for (let i = 0; i < count; i++) {
    const counter = Buffer.alloc(12)
    counter.writeUInt32BE(i, 7)
    counter[11] = i === count - 1 ? 1 : 0
    chunks.push(seal(key, counter, plaintext.subarray(i * CHUNK, (i + 1) * CHUNK)))
  }
  return Buffer.concat(chunks)
}

export interface SealedFile {
  readonly bytes: Buffer
  readonly fileKey: Buffer
  readonly payloadOffset: number
}

/** An age file that its owner (a key nobody else holds) can open. */
export const sealFile = (plaintext: Uint8Array): SealedFile => {
  const fileKey = randomBytes(16)
  const owner = createPrivateKey(generateKeyPairSync("x25519").privateKey.export({ format: "pem", type: "pkcs8" }))
  const header = wrap(fileKey, rawPublic(createPublicKey(owner)))
  return { bytes: Buffer.concat([header, payload(fileKey, plaintext)]), fileKey, payloadOffset: header.length }
}
