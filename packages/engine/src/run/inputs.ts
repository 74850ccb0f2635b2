/** Resolves a step's wires against the outputs already in the run's fold. */
import type { PlanStep, WireRef } from "../plan/Plan.ts"
import { StageError } from "../stage/StageError.ts"
import type { Run } from "./Run.ts"

const follow = (value: unknown, path: WireRef["path"]): unknown =>
  path.reduce<unknown>((inner, key) => (inner !== null && typeof inner === "object" ? (inner as Record<string, unknown>)[key] : undefined), value)

/** Throws a StageError that names the wire: a missing output here means that the plugin upstream gave less than its kind promises. */
export const resolveInputs = (run: Run, step: PlanStep): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(step.inputs).map(([name, wire]) => {
      const value = follow(run.steps.find((s) => s.id === wire.step)?.output, wire.path)
      if (value === undefined) {
        throw new StageError({
          reason: "InvalidInput",
          message: `${step.id}: input "${name}" is wired to ${[wire.step, ...wire.path].join(".")}, which ${wire.step} did not give`,
          remedy: `give ${wire.step} what it needs for "${wire.path.at(-1) ?? wire.step}", or wire ${name} to another step`
        })
      }
      return [name, value]
    })
  )

export const outputOf = (run: Run, stepId: string): unknown => run.steps.find((s) => s.id === stepId)?.output
