/** Looks for a secret in every file below folders: as text, base64 at each alignment, and token ids as JSON or little-endian integers. */
import { readFileSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"

const base64Forms = (text: string): ReadonlyArray<string> =>
  [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]).toString("base64")
    // the first and last characters also depend on the neighbours
    return encoded.slice(shift === 0 ? 0 : shift + 1, -4)
  })

const integers = (ids: ReadonlyArray<number>, width: 2 | 4 | 8): Buffer => {
  const bytes = Buffer.alloc(ids.length * width)
  ids.forEach((id, index) => (width === 8 ? bytes.writeBigInt64LE(BigInt(id), index * 8) : bytes.writeUIntLE(id, index * width, width)))
  return bytes
}

export const files = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    try {
      const stat = statSync(path)
      return stat.isDirectory() ? files(path) : stat.isFile() ? [path] : []
    } catch {
      return [] // gone since it was listed
    }
  })

/** Paths of files that hold the secret in any of its forms. */
export const leaks = (folders: ReadonlyArray<string>, text: string, ids: ReadonlyArray<number>): ReadonlyArray<string> => {
  const asIds = ids.length === 0 ? [] : [...[", ", ","].map((comma) => Buffer.from(ids.join(comma))), ...([2, 4, 8] as const).map((width) => integers(ids, width))]
  const needles = [Buffer.from(text), ...base64Forms(text).map((form) => Buffer.from(form)), ...asIds]
  return folders.flatMap(files).filter((path) => {
    let bytes: Buffer
    try {
      bytes = readFileSync(path)
    } catch {
      return false
    }
    return needles.some((needle) => bytes.includes(needle))
  })
}
