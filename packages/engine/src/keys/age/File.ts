/** A whole age v1 file in memory: what a segment is. */
import { newFileKey, openHeader, parseHeader, sealHeader } from "./Header.ts"
import { openPayload, sealPayloadTo } from "./Payload.ts"
import { AgeFault } from "./X25519.ts"

export const AGE_MEDIA_TYPE = "application/age"

/** Seals piece by piece, in order; a piece's memory is used again once `write` returns. Throws AgeFault for a recipient that is none, before anything is written. */
export const sealFileTo = (write: (piece: Uint8Array) => void, plaintext: Uint8Array, recipients: ReadonlyArray<string>): void => {
  const fileKey = newFileKey()
  write(sealHeader(fileKey, recipients))
  sealPayloadTo(write, fileKey, plaintext)
  fileKey.fill(0)
}

/** The same, whole. */
export const sealFile = (plaintext: Uint8Array, recipients: ReadonlyArray<string>): Buffer => {
  const pieces: Array<Buffer> = []
  sealFileTo((piece) => pieces.push(Buffer.from(piece)), plaintext, recipients)
  return Buffer.concat(pieces)
}

/** Throws AgeFault where the file is for another identity or was changed. */
export const openFile = (file: Uint8Array, identity: string): Buffer => {
  const header = parseHeader(file)
  const fileKey = openHeader(header, identity)
  if (fileKey === undefined) throw new AgeFault("the file is not for this identity")
  return openPayload(fileKey, file.subarray(header.size))
}
