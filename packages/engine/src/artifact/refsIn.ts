/** Every artifact that a value between stages refers to. */
import * as Schema from "effect/Schema"
import { ArtifactRef } from "./Artifact.ts"

const isRef = Schema.is(ArtifactRef)

export const refsIn = (value: unknown): ReadonlyArray<ArtifactRef> =>
  value === null || typeof value !== "object" ? [] : isRef(value) ? [value] : Object.values(value).flatMap(refsIn)
