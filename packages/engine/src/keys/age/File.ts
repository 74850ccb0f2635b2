/** A whole age v1 file in memory: what a segment is. */
import { newFileKey, openHeader, parseHeader, sealHeader } from "./Header.ts"
import { openPayload, sealedPayloadBytes, sealPayloadInto } from "./Payload.ts"
import { AgeFault } from "./X25519.ts"

export const AGE_MEDIA_TYPE = "application/age"

/** Throws AgeFault for a recipient that is none. */
export const sealFile = (plaintext: Uint8Array, recipients: ReadonlyArray<string>): Buffer => sealFileInto((size) => Buffer.allocUnsafe(size), plaintext, recipients)

/** The same, into memory that `memory` gives for the file's size. */
export const sealFileInto = <B extends Buffer<ArrayBufferLike>>(memory: (size: number) => B, plaintext: Uint8Array, recipients: ReadonlyArray<string>): B => {
  const fileKey = newFileKey()
  const header = sealHeader(fileKey, recipients)
  const file = memory(header.length + sealedPayloadBytes(plaintext.length))
  header.copy(file)
  sealPayloadInto(file, header.length, fileKey, plaintext)
  fileKey.fill(0)
  return file
}

/** Throws AgeFault where the file is for another identity or was changed. */
export const openFile = (file: Uint8Array, identity: string): Buffer => {
  const header = parseHeader(file)
  const fileKey = openHeader(header, identity)
  if (fileKey === undefined) throw new AgeFault("the file is not for this identity")
  return openPayload(fileKey, file.subarray(header.size))
}
