/** What a stage fails with when a job, or an endpoint, cannot be managed. */
import type { JobError } from "../capability/Jobs.ts"
import { StageError } from "./StageError.ts"

/** For `Effect.mapError`: a full disk is not tried again, other trouble is. */
export const jobFailure = (error: JobError): StageError =>
  new StageError({ reason: /disk is full/.test(error.message) ? "OutOfSpace" : "Unavailable", message: error.message, ...(error.remedy === undefined ? {} : { remedy: error.remedy }) })
