/** A directory of the file store in which other threads write blobs; see the port. Removed with the scope, and with it what was not put. */
import { randomBytes } from "node:crypto"
import { promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ArtifactRef } from "./Artifact.ts"
import { io } from "./ArtifactFailure.ts"
import type { ArtifactError, ArtifactIo } from "./ArtifactStore.ts"
import { type BlobDirectories, blobPath, syncDirectory } from "./BlobWriter.ts"
import type { StagedFile } from "./stagedFile.ts"

export interface Staging {
  /** Where a file may be written with `writeStaged`: another path each time, on the store's own file system. */
  readonly path: () => string
  /** Takes the file in, under its digest: on trust, as every read checks it. */
  readonly put: (file: StagedFile, mediaType: string) => Effect.Effect<ArtifactRef, ArtifactError>
  /** What was put outlasts a power cut when this returns: one sync of the directory for all. */
  readonly sync: Effect.Effect<void, ArtifactError>
}

export const openStaging = Effect.fnUntraced(function*(directories: BlobDirectories): Effect.fn.Return<Staging, ArtifactIo, Scope.Scope> {
  const what = `storing an artifact in ${directories.blobs}`
  const directory = join(directories.temporary, randomBytes(12).toString("hex"))
  yield* Effect.acquireRelease(
    io(what, () => fs.mkdir(directory, { mode: 0o700 })),
    () => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }).catch(() => undefined))
  )
  let files = 0
  return {
    path: () => join(directory, String(files++)),
    put: ({ digest, path, size }, mediaType) =>
      Effect.as(io(what, () => fs.rename(path, blobPath(directories, digest))), { digest, size, mediaType } satisfies ArtifactRef),
    sync: syncDirectory(directories.blobs)
  }
})
