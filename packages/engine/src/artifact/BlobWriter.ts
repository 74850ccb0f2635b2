/**
 * Writes one blob: temporary file, digest on the way, fsync, rename, fsync of the directory. Closing the scope before `commit` leaves nothing.
 * Blobs have mode 0444: hard links to them (see materialize) share the inode.
 */
import { createHash, randomBytes, webcrypto } from "node:crypto"
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ArtifactIo } from "./ArtifactStore.ts"
import { io } from "./ArtifactFailure.ts"
import type { Digest } from "./Digest.ts"

export interface BlobDirectories {
  /** <artifacts>/blobs/sha256 */
  readonly blobs: string
  /** <artifacts>/tmp, same file system */
  readonly temporary: string
}

export interface BlobWriter {
  readonly write: (chunk: Uint8Array) => Effect.Effect<void, ArtifactIo>
  /** The whole blob at once: its digest is computed on another thread while it is written. */
  readonly writeWhole: (bytes: Uint8Array) => Effect.Effect<void, ArtifactIo>
  /** `syncDirectory: false` where a later commit into the same directory will sync it. */
  readonly commit: (options?: { readonly syncDirectory?: boolean }) => Effect.Effect<{ readonly digest: Digest; readonly size: number }, ArtifactIo>
}

const digestFrom = (hash: Buffer): Digest => `sha256:${hash.toString("hex")}` as Digest

export const blobPath = (directories: BlobDirectories, digest: string): string => join(directories.blobs, digest.slice("sha256:".length))

/** A file system that cannot sync directories (some network ones) says EINVAL; there is nothing more to do then. */
export const syncDirectory = (directory: string): Effect.Effect<void, ArtifactIo> =>
  io(`syncing ${directory}`, async () => {
    const handle = await fs.open(directory, constants.O_RDONLY)
    try {
      await handle.sync()
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EINVAL")) throw error
    } finally {
      await handle.close()
    }
  })

export const openBlobWriter = Effect.fnUntraced(function*(directories: BlobDirectories): Effect.fn.Return<BlobWriter, ArtifactIo, Scope.Scope> {
  const path = join(directories.temporary, randomBytes(12).toString("hex"))
  const what = `storing an artifact in ${directories.blobs}`
  const file = yield* Effect.acquireRelease(
    io(what, () => fs.open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600)),
    (handle) => Effect.promise(() => handle.close().catch(() => undefined).then(() => fs.rm(path, { force: true })).catch(() => undefined))
  )
  const hash = createHash("sha256")
  let whole: Digest | undefined
  let size = 0
  const append = async (chunk: Uint8Array): Promise<void> => {
    for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten
    size += chunk.length
  }
  return {
    write: (chunk) =>
      io(what, () => {
        hash.update(chunk)
        return append(chunk)
      }),
    writeWhole: (bytes) =>
      io(what, async () => {
        const [digest] = await Promise.all([webcrypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>), append(bytes)])
        whole = digestFrom(Buffer.from(digest))
      }),
    commit: (options) => {
      const digest = whole ?? digestFrom(hash.digest())
      return io(what, async () => {
        await file.chmod(0o444) // whatever the umask: a sandboxed process reads them under another uid
        await file.datasync()
        await fs.rename(path, blobPath(directories, digest))
      }).pipe(
        Effect.andThen(options?.syncDirectory === false ? Effect.void : syncDirectory(directories.blobs)),
        Effect.as({ digest, size })
      )
    }
  }
})
