/**
 * The half of Staging that runs where the bytes are made, in a worker thread as a rule: writes one file with blocking calls and digests it
 * on the way, while a piece is still in the processor's cache. Loads nothing but Node: a thread that seals should start in milliseconds.
 */
import { createHash } from "node:crypto"
import { closeSync, fchmodSync, fdatasyncSync, openSync, writeSync } from "node:fs"
import type { Digest } from "./Digest.ts"

export interface StagedFile {
  readonly path: string
  readonly digest: Digest
  /** bytes */
  readonly size: number
}

/** `path` is one that Staging gave. `produce` hands over the file's bytes in order. On disk when it returns; throws what the system says. */
export const writeStaged = (path: string, produce: (write: (piece: Uint8Array) => void) => void): StagedFile => {
  const file = openSync(path, "wx", 0o600)
  try {
    const hash = createHash("sha256")
    let size = 0
    produce((piece) => {
      hash.update(piece)
      for (let at = 0; at < piece.length;) at += writeSync(file, piece, at)
      size += piece.length
    })
    fchmodSync(file, 0o444) // whatever the umask, as for every blob
    fdatasyncSync(file)
    return { path, digest: `sha256:${hash.digest("hex")}` as Digest, size }
  } finally {
    closeSync(file)
  }
}
