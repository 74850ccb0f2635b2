/** References to stored bytes. Between stages only references travel; the bytes stay in the ArtifactStore. */
import * as Schema from "effect/Schema"
import { Digest } from "./Digest.ts"

export const ArtifactRef = Schema.Struct({
  digest: Digest,
  mediaType: Schema.String,
  /** bytes */
  size: Schema.Int
})
export type ArtifactRef = typeof ArtifactRef.Type

export const TREE_MEDIA_TYPE = "application/vnd.hypernode.tree.v1+json"

/** A directory: the stored document (canonical JSON) that a tree reference's digest names. Paths are relative, sorted, `/`-separated. */
export const Tree = Schema.Struct({
  files: Schema.Array(Schema.Struct({ path: Schema.String, digest: Digest, size: Schema.Int }))
})
export type Tree = typeof Tree.Type
