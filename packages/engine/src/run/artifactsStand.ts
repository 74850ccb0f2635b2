/** Whether a cached output can still be used: everything it refers to is in the store, the files inside its trees too. */
import { Effect } from "effect"
import { TREE_MEDIA_TYPE } from "../artifact/Artifact.ts"
import { ArtifactStore } from "../artifact/ArtifactStore.ts"
import { refsIn } from "../artifact/refsIn.ts"

/**
 * False where something is missing, so that the step that makes it runs again: this is what a user who has deleted a damaged blob
 * was told to expect. Only presence is asked; damage is found, and told with its path, by whoever reads the bytes.
 */
export const artifactsStand = Effect.fn("artifactsStand")(function*(output: unknown) {
  const artifacts = yield* ArtifactStore
  const seen = new Set<string>()
  for (const ref of refsIn(output)) {
    if (seen.has(ref.digest)) continue
    seen.add(ref.digest)
    if (!(yield* artifacts.has(ref.digest))) return false
    if (ref.mediaType !== TREE_MEDIA_TYPE) continue
    const files = yield* artifacts.tree(ref).pipe(Effect.map((tree) => tree.files), Effect.catch(() => Effect.succeed([])))
    for (const { digest } of files) {
      if (seen.has(digest)) continue
      seen.add(digest)
      if (!(yield* artifacts.has(digest))) return false
    }
  }
  return true
})
