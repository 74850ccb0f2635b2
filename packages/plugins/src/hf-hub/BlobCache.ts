/**
 * `<cache>/hf`: `blobs/<algorithm>-<hex>` by content, `partial/` for what is still coming, `revisions/` with the file list of each commit
 * seen. Shared by all homes of a user. A blob gets its name only after its digest was right.
 */
import { createHash, type Hash } from "node:crypto"
import { createReadStream, promises as fs } from "node:fs"
import { dirname, join } from "node:path"
import type { HubEntry, HubRepo } from "./Client.ts"

const blobName = (entry: Pick<HubEntry, "content">): string => entry.content.replace(":", "-")

export const cachePaths = (cache: string) => {
  const root = join(cache, "hf")
  return {
    blob: (entry: Pick<HubEntry, "content">) => join(root, "blobs", blobName(entry)),
    partial: (entry: Pick<HubEntry, "content">) => join(root, "partial", blobName(entry)),
    lock: (entry: Pick<HubEntry, "content">) => join(root, "partial", `${blobName(entry)}.lock`),
    revision: (host: string, repo: HubRepo, commit: string) => join(root, "revisions", host.replace(/[^\w.-]/g, "_"), `${repo.type}s--${repo.name.replace("/", "--")}`, `${commit}.json`)
  }
}

/** The hash that a content address is made with, fed with what git puts before a blob. */
export const hashFor = (entry: Pick<HubEntry, "content" | "size">): Hash =>
  entry.content.startsWith("sha256:") ? createHash("sha256") : createHash("sha1").update(`blob ${entry.size}\0`)

export const isContent = (hash: Hash, entry: Pick<HubEntry, "content">): boolean => hash.digest("hex") === entry.content.slice(entry.content.indexOf(":") + 1)

export const sizeOf = (path: string): Promise<number> => fs.stat(path).then((stat) => stat.size, () => 0)

/** Feeds a hash with the file's bytes so far. */
export const feed = async (hash: Hash, path: string): Promise<void> => {
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
}

/** True when the blob is there and is what its name says. One that is not (a disk's fault) is removed, so that it comes again. */
export const hasBlob = async (path: string, entry: HubEntry): Promise<boolean> => {
  if ((await sizeOf(path)) !== entry.size || !(await fs.access(path).then(() => true, () => false))) return false
  const hash = hashFor(entry)
  await feed(hash, path)
  if (isContent(hash, entry)) return true
  await fs.rm(path, { force: true })
  return false
}

export const readRevision = async (path: string): Promise<ReadonlyArray<HubEntry> | undefined> => {
  try {
    return JSON.parse(await fs.readFile(path, "utf8")) as ReadonlyArray<HubEntry>
  } catch {
    return undefined
  }
}

export const writeRevision = async (path: string, entries: ReadonlyArray<HubEntry>): Promise<void> => {
  await fs.mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`
  await fs.writeFile(temporary, JSON.stringify(entries))
  await fs.rename(temporary, path)
}
