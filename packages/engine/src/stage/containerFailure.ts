/** A container engine's failure as a stage's. */
import type { ContainerFailure, ContainerReason } from "../capability/Containers.ts"
import { StageError, type StageErrorReason } from "./StageError.ts"

const reasons: Readonly<Record<ContainerReason, StageErrorReason>> = {
  NoEngine: "Missing",
  Denied: "Denied",
  EngineGone: "Unavailable",
  BuildFailed: "InvalidInput",
  NotFound: "Missing",
  NoGpu: "Missing",
  OutOfSpace: "OutOfSpace",
  Refused: "JobFailed"
}

export const containerFailure = ({ message, reason, remedy }: ContainerFailure): StageError => new StageError({ reason: reasons[reason], message, remedy })
