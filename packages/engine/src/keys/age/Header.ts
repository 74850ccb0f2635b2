/**
 * The header of an age v1 file: text lines, one stanza a recipient, an HMAC under a key from the file key. A re-wrap makes a new header
 * for the same file key; the payload (nonce and chunks) that follows stays as it is.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto"
import { AgeFault, FILE_KEY_BYTES, type Stanza, unwrapFileKey, wrapFileKey } from "./X25519.ts"

const VERSION = "age-encryption.org/v1"
const COLUMNS = 64
/** Larger than any header we write or release; a reader needs no more of a file than this. */
export const MAX_HEADER_BYTES = 64 << 10

export interface Header {
  readonly stanzas: ReadonlyArray<Stanza>
  /** up to and including `---`: what the MAC covers */
  readonly covered: Buffer
  readonly mac: Buffer
  /** bytes of the header with the MAC line's newline: where the payload begins */
  readonly size: number
}

export const newFileKey = (): Buffer => randomBytes(FILE_KEY_BYTES)

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")
const unbase64 = (text: string): Buffer => {
  const bytes = Buffer.from(text, "base64")
  if (base64(bytes) !== text) throw new AgeFault("malformed header: not canonical base64")
  return bytes
}

const macOf = (fileKey: Uint8Array, covered: Uint8Array): Buffer =>
  createHmac("sha256", Buffer.from(hkdfSync("sha256", fileKey, Buffer.alloc(0), "header", 32))).update(covered).digest()

const stanzaText = ({ args, body }: Stanza): string => {
  const encoded = base64(body)
  let text = `-> ${args.join(" ")}\n`
  for (let at = 0; at < encoded.length; at += COLUMNS) text += `${encoded.slice(at, at + COLUMNS)}\n`
  // The last line of a body is shorter than 64 columns, so that its end is known.
  return encoded.length % COLUMNS === 0 ? `${text}\n` : text
}

/** A header that opens to `fileKey` for each of the recipients (age1..., X25519). Throws AgeFault. */
export const sealHeader = (fileKey: Uint8Array, recipients: ReadonlyArray<string>): Buffer => {
  if (recipients.length === 0) throw new AgeFault("no recipients")
  const covered = Buffer.from(`${VERSION}\n${recipients.map((recipient) => stanzaText(wrapFileKey(fileKey, recipient))).join("")}---`)
  return Buffer.concat([covered, Buffer.from(` ${base64(macOf(fileKey, covered))}\n`)])
}

/** From the first bytes of a file (MAX_HEADER_BYTES are enough). Throws AgeFault. */
export const parseHeader = (bytes: Uint8Array): Header => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HEADER_BYTES))
  let at = 0
  const line = (): string => {
    const end = buffer.indexOf(10, at)
    if (end === -1) throw new AgeFault("malformed header: it does not end")
    const text = buffer.toString("latin1", at, end)
    if (!/^[\x20-\x7e]*$/.test(text)) throw new AgeFault("malformed header: not ASCII")
    at = end + 1
    return text
  }
  if (line() !== VERSION) throw new AgeFault("not an age v1 file")
  const stanzas: Array<Stanza> = []
  while (true) {
    const start = at
    const first = line()
    if (first.startsWith("--- ")) {
      const mac = unbase64(first.slice(4))
      if (mac.length !== 32 || stanzas.length === 0) throw new AgeFault("malformed header")
      return { stanzas, covered: buffer.subarray(0, start + 3), mac, size: at }
    }
    const args = first.split(" ")
    if (args.shift() !== "->" || args.length === 0 || args.includes("")) throw new AgeFault("malformed header: a stanza begins with -> and its arguments")
    const parts: Array<Buffer> = []
    while (true) {
      const text = line()
      if (text.length > COLUMNS) throw new AgeFault("malformed header: a line is too long")
      parts.push(unbase64(text))
      if (text.length < COLUMNS) break
    }
    stanzas.push({ args, body: Buffer.concat(parts) })
  }
}

/** The file key, or undefined where no stanza is for this identity. Throws AgeFault where the header was changed. */
export const openHeader = (header: Header, identity: string): Buffer | undefined => {
  for (const stanza of header.stanzas) {
    const fileKey = unwrapFileKey(stanza, identity)
    if (fileKey === undefined) continue
    if (!timingSafeEqual(macOf(fileKey, header.covered), header.mac)) throw new AgeFault("the header was changed: its MAC does not match")
    return fileKey
  }
  return undefined
}

/** A header for `recipient` alone that opens the same payload; `payloadOffset` is where that payload begins in the old file. Throws AgeFault. */
export const rewrapHeader = (bytes: Uint8Array, identity: string, recipient: string): { readonly header: Buffer; readonly payloadOffset: number } => {
  const header = parseHeader(bytes)
  const fileKey = openHeader(header, identity)
  if (fileKey === undefined) throw new AgeFault("the file is not for this identity")
  const rewrapped = sealHeader(fileKey, [recipient])
  fileKey.fill(0)
  return { header: rewrapped, payloadOffset: header.size }
}
