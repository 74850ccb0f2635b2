/**
 * An OCI image layout (opencontainers/image-spec: image-layout.md): `oci-layout`, `index.json`, `blobs/sha256/<hex>`. Blobs come before
 * the index that names them, and the index is replaced by a rename: a crash leaves the old package or the new one, never half of one.
 */
import { constants, createReadStream } from "node:fs"
import { copyFile, link, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises"
import { createHash, randomBytes } from "node:crypto"
import { join } from "node:path"
import { withLock } from "./LayoutLock.ts"
import type { Descriptor } from "./ModelPack.ts"

const REF_NAME = "org.opencontainers.image.ref.name"
const INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"

interface IndexEntry extends Descriptor {
  readonly artifactType?: string
}

/** The directory holds something that is no OCI layout; `message` says what. */
export class LayoutFault extends Error {
  override readonly name = "LayoutFault"
}

export const blobPath = (layout: string, digest: string): string => join(layout, "blobs", "sha256", digest.slice("sha256:".length))

const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, "r")
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** A file that is there whole or not at all, after a crash too. */
export const writeAtomically = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString("hex")}`
  const file = await open(temporary, "wx", 0o644)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

const sha256 = async (path: string): Promise<string> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return `sha256:${hash.digest("hex")}`
}

/** Makes `blobs/` where it is not there. */
export const prepareLayout = async (layout: string): Promise<void> => {
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true, mode: 0o700 })
}

/**
 * Puts one blob in: `source` holds the bytes of `digest`, checked by the caller. A hard link where the file system allows, a copy
 * elsewhere. What is there already is kept if it is the same file or still hashes to its name, and replaced otherwise. Returns the bytes written.
 */
export const addBlob = async (layout: string, digest: string, source: string): Promise<number> => {
  const target = blobPath(layout, digest)
  const [from, to] = await Promise.all([stat(source), stat(target).catch(() => undefined)])
  if (to !== undefined) {
    if (to.dev === from.dev && to.ino === from.ino) return 0
    if (to.size === from.size && (await sha256(target)) === digest) return 0
  }
  const temporary = `${target}.${randomBytes(6).toString("hex")}`
  try {
    let written = 0
    try {
      await link(source, temporary)
    } catch {
      await copyFile(source, temporary, constants.COPYFILE_FICLONE)
      const file = await open(temporary, "r")
      try {
        await file.sync()
      } finally {
        await file.close()
      }
      written = from.size
    }
    await rename(temporary, target)
    return written
  } finally {
    await rm(temporary, { force: true })
  }
}

const readIndex = async (layout: string): Promise<ReadonlyArray<IndexEntry>> => {
  const path = join(layout, "index.json")
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
  try {
    const { manifests } = JSON.parse(text) as { manifests: ReadonlyArray<IndexEntry> }
    if (Array.isArray(manifests) && manifests.every((m) => typeof m?.digest === "string")) return manifests
  } catch {
    // falls through: the same message for text that is no JSON
  }
  throw new LayoutFault(`${path} is not an OCI index`)
}

const tagOf = (entry: IndexEntry): string | undefined => entry.annotations?.[REF_NAME]

const untagged = ({ annotations, ...entry }: IndexEntry): IndexEntry => {
  const { [REF_NAME]: _tag, ...rest } = annotations ?? {}
  return Object.keys(rest).length === 0 ? entry : { ...entry, annotations: rest }
}

/** Points `tag` at the manifest. What the tag named before stays in the index by its digest, so that older packages can still be read. */
export const tagManifest = async (layout: string, tag: string, manifest: IndexEntry): Promise<void> => {
  await syncDirectory(join(layout, "blobs", "sha256"))
  await withLock(join(layout, ".index.lock"), async () => {
    const others = (await readIndex(layout)).map((entry) => (tagOf(entry) === tag ? untagged(entry) : entry)).filter((entry) => tagOf(entry) !== undefined || entry.digest !== manifest.digest)
    // an untagged twin says nothing that the first one does not
    const kept = others.filter((entry, i) => tagOf(entry) !== undefined || !others.some((other, j) => other.digest === entry.digest && (tagOf(other) !== undefined || j < i)))
    const manifests = [...kept, { ...manifest, annotations: { ...manifest.annotations, [REF_NAME]: tag } }]
    await writeAtomically(join(layout, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
    await writeAtomically(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, mediaType: INDEX_MEDIA_TYPE, manifests }))
    await syncDirectory(layout)
  })
}

/** Cheap check that a package still stands: named by the index, its manifest and config hash to their digests, each layer is there in full length. */
export const standsIn = async (layout: string, digest: string): Promise<boolean> => {
  try {
    if (!(await readIndex(layout)).some((entry) => entry.digest === digest)) return false
    if ((await sha256(blobPath(layout, digest))) !== digest) return false
    const { config, layers } = JSON.parse(await readFile(blobPath(layout, digest), "utf8")) as { config: Descriptor; layers: ReadonlyArray<Descriptor> }
    if ((await sha256(blobPath(layout, config.digest))) !== config.digest) return false
    const sizes = await Promise.all(layers.map((layer) => stat(blobPath(layout, layer.digest))))
    return layers.every((layer, i) => sizes[i]?.size === layer.size)
  } catch {
    return false // missing, unreadable or no JSON: each means that the step runs again and makes it anew
  }
}
