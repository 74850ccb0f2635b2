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

/** Chunks a piece: large enough that a call for each costs nothing, small enough to stay in a processor's second cache until it is written. */
const PIECE_CHUNKS = 4

/**
 * The cipher gives each chunk in memory of its own, 1 GiB of it for 1 GiB of rows. Given back here and not by garbage collection, it is the
 * same memory each time, still in the processor's cache: a third of all sealing, and no heap that grows.
 */
const giveBack = (chunk: Buffer): void => {
  // never memory that holds anything else
  if (chunk.buffer instanceof ArrayBuffer && chunk.buffer.byteLength === chunk.length) chunk.buffer.transfer?.(0)
}

/** Seals the payload piece by piece, in order. A piece's memory is used again once `write` returns. */
export const sealPayloadTo = (write: (piece: Uint8Array) => void, fileKey: Uint8Array, plaintext: Uint8Array): void => {
  const salt = randomBytes(NONCE_BYTES)
  const key = payloadKey(fileKey, salt)
  const nonce = Buffer.alloc(12)
  const chunks = Math.max(1, Math.ceil(plaintext.length / CHUNK_BYTES))
  const piece = Buffer.allocUnsafeSlow(Math.min(chunks, PIECE_CHUNKS) * (CHUNK_BYTES + TAG_BYTES))
  write(salt)
  let filled = 0
  for (let i = 0; i < chunks; i++) {
    const cipher = createCipheriv("chacha20-poly1305", key, chunkNonce(nonce, i, i === chunks - 1), { authTagLength: TAG_BYTES })
    const chunk = cipher.update(plaintext.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES))
    cipher.final()
    filled += chunk.copy(piece, filled)
    filled += cipher.getAuthTag().copy(piece, filled)
    giveBack(chunk)
    if ((i + 1) % PIECE_CHUNKS === 0 || i === chunks - 1) {
      write(piece.subarray(0, filled))
      filled = 0
    }
  }
  key.fill(0)
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
