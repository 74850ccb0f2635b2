/** Paths inside a tree: relative, `/`-separated, sorted, no escape, no path that is both file and directory. */
import { promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type { Tree } from "./Artifact.ts"
import { io, refused } from "./ArtifactFailure.ts"
import type { ArtifactIo } from "./ArtifactStore.ts"

/** What is wrong with a tree's path, or undefined. Backslashes are refused because they separate on other systems. */
export const pathFault = (path: string): string | undefined => {
  if (path.includes("\0")) return "holds a NUL"
  if (path.includes("\\")) return "holds a backslash"
  if (Buffer.byteLength(path) > 4096) return "is longer than 4096 bytes"
  for (const part of path.split("/")) {
    if (part === "") return "is empty, absolute or holds an empty part"
    if (part === "." || part === "..") return `holds "${part}"`
  }
  return undefined
}

export const treeFault = (tree: Tree): string | undefined => {
  const files = new Set<string>()
  for (const { path } of tree.files) {
    const fault = pathFault(path)
    if (fault !== undefined) return `path ${JSON.stringify(path)} ${fault}`
    if (files.has(path)) return `path ${JSON.stringify(path)} stands twice`
    files.add(path)
  }
  for (const path of files) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      if (files.has(path.slice(0, at))) return `path ${JSON.stringify(path.slice(0, at))} is a file and a directory`
    }
  }
  return undefined
}

/** Regular files below a directory, sorted by code unit. Symbolic links and special files are refused by name. Empty directories do not count. */
export const listFiles: (root: string, below?: string) => Effect.Effect<ReadonlyArray<string>, ArtifactIo> = Effect.fnUntraced(function*(root: string, below = "") {
  const entries = yield* io(`reading the directory ${join(root, below)}`, () => fs.readdir(join(root, below), { withFileTypes: true }))
  const found: Array<string> = []
  for (const entry of entries) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`
    const fault = pathFault(path)
    if (fault !== undefined) return yield* refused("EINVAL", `The path ${JSON.stringify(path)} in ${root} ${fault}: rename it.`)
    if (entry.isDirectory()) found.push(...(yield* listFiles(root, path)))
    else if (entry.isFile()) found.push(path)
    else return yield* refused(entry.isSymbolicLink() ? "ELOOP" : "EINVAL", `${join(root, path)} is ${entry.isSymbolicLink() ? "a symbolic link" : "not a regular file"}: only files and directories can be stored. Replace it by the file itself.`)
  }
  return found.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))
})
