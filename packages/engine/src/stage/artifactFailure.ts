/** What a stage fails with when the artifact store refuses. */
import type { ArtifactError } from "../artifact/ArtifactStore.ts"
import { StageError } from "./StageError.ts"

const outOfSpace = new Set(["ENOSPC", "EDQUOT", "EFBIG"])

/** For `Effect.mapError`: missing and damaged artifacts are never retried, a full disk neither, other trouble of the medium is. */
export const artifactFailure = (error: ArtifactError): StageError => {
  switch (error._tag) {
    case "ArtifactMissing":
      return new StageError({ reason: "Missing", message: error.message, remedy: "Run the step that made it again: `hyper run` with the same file makes what is missing." })
    case "ArtifactCorrupt":
      return new StageError({ reason: "Corrupt", message: error.message, remedy: `Delete ${error.path} and run again; check the disk if it happens twice.` })
    case "ArtifactIo":
      return outOfSpace.has(error.code)
        ? new StageError({ reason: "OutOfSpace", message: error.message, remedy: "Free some space, then `hyper resume`." })
        : new StageError({ reason: "Unavailable", message: error.message })
  }
}
