/** Seals one segment into the artifact store: in place for small data sets, in threads for large ones. */
import * as Effect from "effect/Effect"
import type { ArtifactRef } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { AGE_MEDIA_TYPE, sealFile } from "@hypernode/engine/keys/age/File"
import { artifactFailure } from "@hypernode/engine/stage/artifactFailure"
import { StageError } from "@hypernode/engine/stage/StageError"
import { type SealJob, sealSegment } from "./sealSegment.ts"

export interface SealedSegment {
  readonly artifact: ArtifactRef
  readonly tokens: number | undefined
}

export interface Sealer {
  /** segments that it works on at the same time; more only wait */
  readonly width: number
  readonly seal: (job: SealJob) => Effect.Effect<SealedSegment, StageError>
  /** After the last segment: what was sealed outlasts a power cut when this returns. */
  readonly finish: Effect.Effect<void, StageError>
}

export const sealingFailed = (why: string): StageError => new StageError({ reason: "Internal", message: `Sealing a segment failed (${why}).` })

/** No thread, no file of its own: for a data set of a few megabytes that is the fastest. */
export const sealInPlace: Effect.Effect<Sealer, never, ArtifactStore> = Effect.map(ArtifactStore, (artifacts) => ({
  width: 1,
  seal: Effect.fnUntraced(function*(job) {
    const { stored, tokens } = yield* Effect.tryPromise({
      try: () => sealSegment(job, sealFile),
      catch: (cause) => sealingFailed(cause instanceof Error ? cause.name : "unknown failure")
    })
    return { artifact: yield* Effect.mapError(artifacts.put(stored, AGE_MEDIA_TYPE), artifactFailure), tokens }
  }),
  finish: Effect.void
}))
