/** Reads blobs. Every read is checked against the digest; what was checked is remembered by (device, inode, size, mtime) for as long as the process lives. */
import { createHash } from "node:crypto"
import { type BigIntStats, constants, promises as fs } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ArtifactRef } from "./Artifact.ts"
import { artifactIo, io, refused } from "./ArtifactFailure.ts"
import { ArtifactCorrupt, type ArtifactError, type ArtifactIo, ArtifactMissing } from "./ArtifactStore.ts"
import { type BlobDirectories, blobPath } from "./BlobWriter.ts"

export const CHUNK_BYTES = 1 << 20

export interface BlobReader {
  readonly stream: (ref: ArtifactRef) => Stream.Stream<Uint8Array, ArtifactError>
  readonly read: (ref: ArtifactRef) => Effect.Effect<Uint8Array, ArtifactError>
  /** Path of a blob that hashes to its digest. */
  readonly verified: (ref: Pick<ArtifactRef, "digest" | "size">) => Effect.Effect<string, ArtifactError>
}

const isDigest = (digest: string): boolean => /^sha256:[0-9a-f]{64}$/.test(digest)
const identity = (s: BigIntStats): string => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}`

/** Opens a regular file, never through a symbolic link at its last component. */
export const openRegular = (path: string, what: string): Effect.Effect<fs.FileHandle, ArtifactIo> =>
  io(what, () => fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)).pipe(
    Effect.tap((handle) =>
      io(what, () => handle.stat()).pipe(
        Effect.filterOrFail((s) => s.isFile(), () => refused("EINVAL", `${what}: not a regular file`)),
        Effect.onError(() => Effect.promise(() => handle.close()))
      )
    )
  )

/** The file's bytes in order, in fresh buffers, from an open handle. */
export const fileChunks = (handle: fs.FileHandle, what: string): Stream.Stream<Uint8Array, ArtifactIo> =>
  Stream.fromAsyncIterable(
    (async function*() {
      while (true) {
        const { bytesRead, buffer } = await handle.read({ buffer: Buffer.allocUnsafe(CHUNK_BYTES), position: null })
        if (bytesRead === 0) return
        yield buffer.subarray(0, bytesRead) as Uint8Array
      }
    })(),
    (cause) => artifactIo(what, cause)
  )

const what = (ref: { readonly digest: string }): string => `reading artifact ${ref.digest}`

export const makeBlobReader = (directories: BlobDirectories): BlobReader => {
  const checked = new Map<string, string>()

  const missing = (digest: string) =>
    new ArtifactMissing({ digest, message: `Artifact ${digest} is not in the store (${directories.blobs}). Run the pipeline again: the step that made it will run anew.` })
  const corrupt = (digest: string) => {
    const path = blobPath(directories, digest)
    return new ArtifactCorrupt({ digest, path, message: `The bytes in ${path} do not hash to ${digest}: the file was changed or the disk is failing. Delete it and run the pipeline again.` })
  }

  const opened = Effect.fnUntraced(function*(ref: { readonly digest: string }) {
    if (!isDigest(ref.digest)) return yield* missing(ref.digest)
    return yield* Effect.acquireRelease(
      openRegular(blobPath(directories, ref.digest), what(ref)).pipe(
        Effect.catch((error) => Effect.fail(error.code === "ENOENT" ? missing(ref.digest) : error.code === "ELOOP" || error.code === "EINVAL" ? corrupt(ref.digest) : error))
      ),
      (handle) => Effect.promise(() => handle.close().catch(() => undefined))
    )
  })

  const verifying = (ref: Pick<ArtifactRef, "digest" | "size">, handle: fs.FileHandle): Stream.Stream<Uint8Array, ArtifactError> =>
    Stream.suspend(() => {
      const hash = createHash("sha256")
      let size = 0
      return fileChunks(handle, what(ref)).pipe(
        Stream.map((chunk) => {
          hash.update(chunk)
          size += chunk.length
          return chunk
        }),
        Stream.concat(
          Stream.suspend(() => (size === ref.size && `sha256:${hash.digest("hex")}` === ref.digest ? Stream.empty : Stream.fail(corrupt(ref.digest))))
        )
      )
    })

  const stream = (ref: Pick<ArtifactRef, "digest" | "size">): Stream.Stream<Uint8Array, ArtifactError> =>
    Stream.unwrap(Effect.map(opened(ref), (handle) => verifying(ref, handle)))

  return {
    stream,
    read: (ref) => Effect.map(Stream.runCollect(stream(ref)), (chunks) => Buffer.concat(Array.from(chunks))),
    verified: (ref) =>
      Effect.scoped(
        Effect.gen(function*() {
          const handle = yield* opened(ref)
          const before = identity(yield* io(what(ref), () => handle.stat({ bigint: true })))
          if (checked.get(ref.digest) !== before) {
            checked.delete(ref.digest)
            yield* Stream.runDrain(verifying(ref, handle))
            // Only what did not change while it was read counts as checked.
            const after = identity(yield* io(what(ref), () => handle.stat({ bigint: true })))
            if (after === before) checked.set(ref.digest, after)
          }
          return blobPath(directories, ref.digest)
        })
      )
  }
}
