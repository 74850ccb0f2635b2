/** The payload of an age v1 file (STREAM): a 16-byte nonce, then 64 KiB chunks under ChaCha20-Poly1305, the last one marked. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"
import { AgeFault } from "./X25519.ts"

export const CHUNK_BYTES = 64 << 10
const TAG_BYTES = 16
const NONCE_BYTES = 16

const payloadKey = (fileKey: Uint8Array, nonce: Uint8Array): Buffer => Buffer.from(hkdfSync("sha256", fileKey, nonce, "payload", 32))

/** 11 bytes big-endian counter, then 1 for the last chunk. A payload of ours is far below 2^32 chunks. */
const chunkNonce = (nonce: Buffer, index: number, last: boolean): Buffer => {
  nonce.writeUInt32BE(index, 7)
  nonce[11] = last ? 1 : 0
  return nonce
}

export const sealedPayloadBytes = (plaintextBytes: number): number => NONCE_BYTES + plaintextBytes + TAG_BYTES * Math.max(1, Math.ceil(plaintextBytes / CHUNK_BYTES))

/** Writes the sealed payload into `target` from `at` on; returns where it ends. `target` must have `sealedPayloadBytes` left. */
export const sealPayloadInto = (target: Buffer, at: number, fileKey: Uint8Array, plaintext: Uint8Array): number => {
  const salt = randomBytes(NONCE_BYTES)
  const key = payloadKey(fileKey, salt)
  const nonce = Buffer.alloc(12)
  let offset = at + salt.copy(target, at)
  const chunks = Math.max(1, Math.ceil(plaintext.length / CHUNK_BYTES))
  for (let i = 0; i < chunks; i++) {
    const cipher = createCipheriv("chacha20-poly1305", key, chunkNonce(nonce, i, i === chunks - 1), { authTagLength: TAG_BYTES })
    offset += cipher.update(plaintext.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES)).copy(target, offset)
    cipher.final()
    offset += cipher.getAuthTag().copy(target, offset)
  }
  key.fill(0)
  return offset
}

const refused = (): AgeFault => new AgeFault("the payload was changed or cut short")

/** Plaintext of a payload (what follows the header). Throws AgeFault where anything was cut, moved, added or changed. */
export const openPayload = (fileKey: Uint8Array, payload: Uint8Array): Buffer => {
  if (payload.length < NONCE_BYTES + TAG_BYTES) throw refused()
  const key = payloadKey(fileKey, payload.subarray(0, NONCE_BYTES))
  const body = payload.subarray(NONCE_BYTES)
  const sealed = CHUNK_BYTES + TAG_BYTES
  const chunks = Math.ceil(body.length / sealed)
  const nonce = Buffer.alloc(12)
  const plaintext: Array<Buffer> = []
  for (let i = 0; i < chunks; i++) {
    const chunk = body.subarray(i * sealed, (i + 1) * sealed)
    // Only a whole empty plaintext may end in an empty chunk.
    if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && i > 0)) throw refused()
    const decipher = createDecipheriv("chacha20-poly1305", key, chunkNonce(nonce, i, i === chunks - 1), { authTagLength: TAG_BYTES })
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES))
    try {
      plaintext.push(decipher.update(chunk.subarray(0, -TAG_BYTES)), decipher.final())
    } catch {
      throw refused()
    }
  }
  return Buffer.concat(plaintext)
}
