/** Content-addressed bytes. `put*` are atomic (temporary file, fsync, rename); every read checks the digest. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ArtifactRef, Tree } from "./Artifact.ts"
import type { Staging } from "./Staging.ts"

export class ArtifactMissing extends Schema.TaggedError<ArtifactMissing>()("ArtifactMissing", {
  digest: Schema.String,
  message: Schema.String
}) {}

/** The bytes under a digest do not hash to it (bit rot or tampering). `path` is where they lie. */
export class ArtifactCorrupt extends Schema.TaggedError<ArtifactCorrupt>()("ArtifactCorrupt", {
  digest: Schema.String,
  path: Schema.String,
  message: Schema.String
}) {}

/** The medium refused: full, read-only, gone. */
export class ArtifactIo extends Schema.TaggedError<ArtifactIo>()("ArtifactIo", {
  message: Schema.String,
  code: Schema.String
}) {}

export type ArtifactError = ArtifactMissing | ArtifactCorrupt | ArtifactIo

export class ArtifactStore extends Context.Service<
  ArtifactStore,
  {
    /** `bytes` are not kept: their memory may be used again when this returns. */
    readonly put: (bytes: Uint8Array | string, mediaType: string) => Effect.Effect<ArtifactRef, ArtifactError>
    readonly putStream: <E>(bytes: Stream.Stream<Uint8Array, E>, mediaType: string) => Effect.Effect<ArtifactRef, ArtifactError | E>
    /** Copies (or, with `move`, renames) a file in. Symbolic links are refused. */
    readonly putFile: (path: string, mediaType: string, options?: { readonly move?: boolean }) => Effect.Effect<ArtifactRef, ArtifactError>
    /** Every file below `directory`, each stored as a blob of its own, and the tree document over them. */
    readonly putTree: (directory: string, options?: { readonly move?: boolean }) => Effect.Effect<ArtifactRef, ArtifactError>
    /** For blobs that other threads make: they write files (stagedFile.ts), the store takes them in. What was not put is gone when the scope closes. */
    readonly staging: Effect.Effect<Staging, ArtifactError, Scope.Scope>
    readonly read: (ref: ArtifactRef) => Effect.Effect<Uint8Array, ArtifactError>
    readonly stream: (ref: ArtifactRef) => Stream.Stream<Uint8Array, ArtifactError>
    readonly tree: (ref: ArtifactRef) => Effect.Effect<Tree, ArtifactError>
    /** A directory with the tree's files (hard links where the file system allows, read-only mode 0444). Verified. Idempotent. */
    readonly materialize: (ref: ArtifactRef, directory: string) => Effect.Effect<void, ArtifactError>
    /** The blob's own path, digest checked first; never write to it. */
    readonly path: (ref: ArtifactRef) => Effect.Effect<string, ArtifactError>
    readonly has: (digest: string) => Effect.Effect<boolean>
  }
>()("@hypernode/engine/artifact/ArtifactStore") {}
