/**
 * A commit's files on this disk, as the plainest thing they can be: regular files, not executable, below one private directory. Links,
 * submodules, `.git` and `node_modules` stay out; no attribute of the repository changes a byte.
 */
import { promises as fs } from "node:fs"
import { dirname, join } from "node:path"
import { GitError } from "./GitError.ts"
import type { Exported, TreeFile } from "./Git.ts"
import { printable } from "./printable.ts"

const MAX_FILES = 50_000
const MAX_BYTES = 1 << 30
const MAX_FILE = 256 << 20
/** read from git at once */
const BATCH_BYTES = 32 << 20
const BATCH_FILES = 2_000

/** Why a file of a commit is not written; undefined for one that is. */
export const leftOut = ({ mode, path }: TreeFile): string | undefined => {
  if (mode === "120000") return "a symbolic link"
  if (mode === "160000") return "a submodule"
  if (mode !== "100644" && mode !== "100755" && mode !== "100664") return `a thing of mode ${mode}`
  const parts = path.split("/")
  if (parts.some((part) => part === "" || part === "." || part === ".." || Buffer.byteLength(part) > 255 || /[\p{Cc}\ufffd\\]/u.test(part))) return "a name that no file may have here"
  if (parts.some((part) => /^\.git$/i.test(part))) return "a file of git's own"
  if (parts.includes("node_modules")) return "below node_modules: packages come from this installation, not from a repository"
  return undefined
}

/** `git cat-file --batch` over `objects`. */
export type ReadObjects = (objects: ReadonlyArray<string>) => Promise<Buffer>

/** Contents by object, from what `git cat-file --batch` printed. */
export const contents = (output: Buffer, objects: ReadonlyArray<string>): ReadonlyMap<string, Buffer> => {
  const found = new Map<string, Buffer>()
  let at = 0
  for (const object of objects) {
    const end = output.indexOf(10, at)
    const header = /^([0-9a-f]{40,64}) blob (\d+)$/.exec(output.toString("latin1", at, Math.max(at, end)))
    if (header === null || header[1] !== object) throw new GitError({ reason: "Failed", message: `the mirror lacks the object ${object}`, remedy: "delete the watch folder of this home: the next look fetches everything anew" })
    const size = Number(header[2])
    found.set(object, output.subarray(end + 1, end + 1 + size))
    at = end + 1 + size + 1
  }
  return found
}

const tooLarge = (what: string): GitError => new GitError({ reason: "TooLarge", message: what, remedy: "keep large data out of the repository (let a select stage fetch it), or watch a smaller repository" })

const batches = function* (files: ReadonlyArray<TreeFile>): Generator<ReadonlyArray<TreeFile>> {
  let batch: Array<TreeFile> = []
  let bytes = 0
  for (const file of files) {
    if (batch.length > 0 && (bytes + (file.size ?? 0) > BATCH_BYTES || batch.length >= BATCH_FILES)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(file)
    bytes += file.size ?? 0
  }
  if (batch.length > 0) yield batch
}

/** Whole or not at all: written beside, then renamed. */
export const exportTree = async (files: ReadonlyArray<TreeFile>, directory: string, read: ReadObjects): Promise<Exported> => {
  const skipped = files.flatMap((file) => {
    const why = leftOut(file)
    return why === undefined ? [] : [{ path: printable(file.path), why }]
  })
  const taken = files.filter((file) => leftOut(file) === undefined)
  const bytes = taken.reduce((sum, file) => sum + (file.size ?? 0), 0)
  const largest = taken.find((file) => (file.size ?? 0) > MAX_FILE)
  if (largest !== undefined) throw tooLarge(`${printable(largest.path)} has more than ${MAX_FILE >> 20} MiB`)
  if (taken.length > MAX_FILES || bytes > MAX_BYTES) throw tooLarge(`the commit has ${taken.length} files of ${Math.ceil(bytes / 1048576)} MiB together; at most ${MAX_FILES} and ${MAX_BYTES >> 20} MiB are taken`)

  const partial = `${directory}.partial`
  await fs.rm(partial, { recursive: true, force: true })
  await fs.mkdir(partial, { recursive: true, mode: 0o700 })
  const made = new Set<string>()
  for (const batch of batches(taken)) {
    const objects = [...new Set(batch.map((file) => file.object))]
    const found = contents(await read(objects), objects)
    for (const file of batch) {
      const path = join(partial, file.path)
      const parent = dirname(path)
      if (!made.has(parent)) await fs.mkdir(parent, { recursive: true, mode: 0o700 })
      made.add(parent)
      try {
        await fs.writeFile(path, found.get(file.object) as Buffer, { flag: "wx", mode: 0o600 })
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code
        if (code !== "EEXIST" && code !== "EISDIR" && code !== "ENOTDIR") throw error
        skipped.push({ path: printable(file.path), why: "another file has that name on this disk" })
      }
    }
  }
  await fs.rm(directory, { recursive: true, force: true })
  await fs.rename(partial, directory)
  return { files: taken.length, bytes, skipped }
}
