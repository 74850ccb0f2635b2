/** Why a plugin could not be loaded; the planner makes a PlanError of it, the engine a StageError. */
import type { StageErrorReason } from "../stage/StageError.ts"

export class PluginProblem extends Error {
  readonly reason: StageErrorReason
  readonly remedy: string
  constructor(reason: StageErrorReason, message: string, remedy: string) {
    super(message)
    this.name = "PluginProblem"
    this.reason = reason
    this.remedy = remedy
  }
}
