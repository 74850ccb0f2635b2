/** What `artifactsStand` asks of a store, asked of the default store's files: for a plan, which starts nothing and opens no store. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { type Tree, TREE_MEDIA_TYPE } from "../artifact/Artifact.ts"
import { refsIn } from "../artifact/refsIn.ts"
import type { Home } from "../Home.ts"

export const blobsStand = (home: Home, output: unknown): boolean => {
  const pathOf = (digest: string): string => join(home.artifacts, "blobs", "sha256", digest.slice("sha256:".length))
  return refsIn(output).every(({ digest, mediaType }) => {
    if (!existsSync(pathOf(digest))) return false
    if (mediaType !== TREE_MEDIA_TYPE) return true
    try {
      return (JSON.parse(readFileSync(pathOf(digest), "utf8")) as Tree).files.every((file) => existsSync(pathOf(file.digest)))
    } catch {
      // a damaged document is for whoever reads it to name
      return true
    }
  })
}
