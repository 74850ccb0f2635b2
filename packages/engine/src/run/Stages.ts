/** Finds a plan step's definition when it is about to run. The plugin registry implements it; tests give definitions directly. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { PlanStep } from "../plan/Plan.ts"
import type { StageDefinition } from "../plugin/Plugin.ts"
import type { StageError } from "../stage/StageError.ts"

export class Stages extends Context.Service<
  Stages,
  {
    /** Loads the plugin, checks its digest against the plan, and decodes the step's options. */
    readonly load: (step: PlanStep, projectDirectory: string) => Effect.Effect<{ readonly definition: StageDefinition; readonly options: unknown }, StageError>
  }
>()("@hypernode/engine/run/Stages") {}
