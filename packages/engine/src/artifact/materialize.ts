/** Lays a tree out as a directory: hard links to the blobs (mode 0444), copies where the file system refuses a link. */
import { randomBytes } from "node:crypto"
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { Tree } from "./Artifact.ts"
import { io, refused } from "./ArtifactFailure.ts"
import type { ArtifactError, ArtifactIo } from "./ArtifactStore.ts"
import { digestOfFile } from "./digestOfFile.ts"
import type { BlobReader } from "./BlobReader.ts"

const code = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "")

/** Makes `<root>/<parts>` one by one: a symbolic link planted on the way would lead the files elsewhere. */
const makeDirectories = Effect.fnUntraced(function*(root: string, parts: ReadonlyArray<string>) {
  let directory = root
  for (const part of parts) {
    directory = join(directory, part)
    const what = `making the directory ${directory}`
    yield* io(what, () => fs.mkdir(directory).then(() => fs.chmod(directory, 0o755), (error) => (code(error) === "EEXIST" ? undefined : Promise.reject(error))))
    const stat = yield* io(what, () => fs.lstat(directory))
    if (!stat.isDirectory()) return yield* refused("ENOTDIR", `${directory} is not a directory (a link or a file stands there): remove it and try again.`)
  }
})

/** Link, or copy beside the target and rename; so the target is whole or absent. A link that is there already is kept. */
const place = (blob: string, target: string): Effect.Effect<void, ArtifactIo> =>
  io(`laying out ${target}`, async () => {
    const there = await fs.lstat(target).catch(() => undefined)
    if (there !== undefined) {
      const source = await fs.lstat(blob)
      if (there.ino === source.ino && there.dev === source.dev) return
    }
    const temporary = `${target}.${randomBytes(6).toString("hex")}.tmp`
    try {
      await fs.link(blob, temporary).catch(async (error) => {
        if (!["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code(error))) throw error
        await fs.copyFile(blob, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
        await fs.chmod(temporary, 0o444)
      })
      await fs.rename(temporary, target)
    } finally {
      await fs.rm(temporary, { force: true })
    }
  })

export const materializeFiles = Effect.fnUntraced(function*(tree: Tree, directory: string, reader: BlobReader): Effect.fn.Return<void, ArtifactError> {
  yield* io(`making the directory ${directory}`, () => fs.mkdir(directory, { recursive: true, mode: 0o755 }))
  for (const file of tree.files) {
    const parts = file.path.split("/")
    yield* makeDirectories(directory, parts.slice(0, -1))
    const target = join(directory, ...parts)
    const blob = yield* reader.verified(file)
    yield* place(blob, target)
    // A link is the checked inode itself; a copy is checked on its own.
    const linked = yield* io(`checking ${target}`, async () => {
      const [a, b] = [await fs.lstat(target), await fs.lstat(blob)]
      return a.ino === b.ino && a.dev === b.dev
    })
    if (!linked && (yield* digestOfFile(target)).digest !== file.digest) {
      return yield* refused("EIO", `The copy ${target} does not hash to ${file.digest}: the disk is failing.`)
    }
  }
})
