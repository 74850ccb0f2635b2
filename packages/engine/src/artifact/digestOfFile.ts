/** Digest and size of a regular file, in constant memory. Symbolic links are refused. */
import { createHash } from "node:crypto"
import type { promises as fs } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ArtifactIo } from "./ArtifactStore.ts"
import { fileChunks, openRegular } from "./BlobReader.ts"
import type { Digest } from "./Digest.ts"

export interface FileDigest {
  readonly digest: Digest
  /** bytes */
  readonly size: number
}

/** From the handle's position to the end of the file. */
export const digestOfHandle = (handle: fs.FileHandle, what: string): Effect.Effect<FileDigest, ArtifactIo> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    let size = 0
    return Stream.runForEach(fileChunks(handle, what), (chunk) =>
      Effect.sync(() => {
        hash.update(chunk)
        size += chunk.length
      })).pipe(Effect.map(() => ({ digest: `sha256:${hash.digest("hex")}` as Digest, size })))
  })

export const digestOfFile = (path: string): Effect.Effect<FileDigest, ArtifactIo> =>
  Effect.scoped(
    Effect.flatMap(
      Effect.acquireRelease(openRegular(path, `reading ${path}`), (h) => Effect.promise(() => h.close().catch(() => undefined))),
      (handle) => digestOfHandle(handle, `reading ${path}`)
    )
  )
