/** What a plan will cost and touch, said by its plugins before anything starts. */
import * as Effect from "effect/Effect"
import type { Estimate, PlanNote } from "../plugin/Plugin.ts"
import type { PlannedStep } from "./Planner.ts"

export interface StepEstimate {
  readonly step: string
  readonly estimate: Estimate
}

const NOTHING: Estimate = { notes: [], sideEffects: [], tools: [], hosts: [] }

/** A plugin that cannot say (or fails to) does not stop the plan; a note says so. */
export const estimateSteps = (steps: ReadonlyArray<PlannedStep>, projectDirectory: string): Effect.Effect<ReadonlyArray<StepEstimate>> =>
  Effect.forEach(
    steps,
    ({ definition, options, step }) =>
      Effect.suspend(() => definition.estimate?.(options, { projectDirectory }) ?? Effect.succeed(NOTHING)).pipe(
        Effect.catchDefect((defect) =>
          Effect.succeed<Estimate>({ ...NOTHING, notes: [{ level: "warn", message: `${step.plugin.id} could not estimate: ${defect instanceof Error ? defect.message : String(defect)}` }] })
        ),
        Effect.map((estimate) => ({ step: step.id, estimate }))
      ),
    { concurrency: 4 }
  )

const range = (ranges: ReadonlyArray<readonly [number, number] | undefined>): readonly [number, number] | undefined => {
  const known = ranges.filter((r) => r !== undefined)
  return known.length === 0 ? undefined : [known.reduce((sum, [low]) => sum + low, 0), known.reduce((sum, [, high]) => sum + high, 0)]
}

const distinct = (all: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(all)]

/** Ranges and bytes are summed over the steps that gave them; lists are joined without repeats. */
export const total = (estimates: ReadonlyArray<StepEstimate>): Estimate => {
  const all = estimates.map(({ estimate }) => estimate)
  const seconds = range(all.map((e) => e.seconds))
  const dollars = range(all.map((e) => e.dollars))
  const bytes = all.reduce((sum, e) => sum + (e.downloadBytes ?? 0), 0)
  return {
    ...(seconds === undefined ? {} : { seconds }),
    ...(dollars === undefined ? {} : { dollars }),
    ...(bytes === 0 ? {} : { downloadBytes: bytes }),
    notes: all.flatMap((e) => e.notes),
    sideEffects: distinct(all.flatMap((e) => e.sideEffects)),
    tools: distinct(all.flatMap((e) => e.tools)),
    hosts: distinct(all.flatMap((e) => e.hosts))
  }
}

/** Notes that forbid the run: no sandbox where one is required, no Python. */
export const refusals = (estimates: ReadonlyArray<StepEstimate>): ReadonlyArray<PlanNote & { readonly step: string }> =>
  estimates.flatMap(({ step, estimate }) => estimate.notes.filter((note) => note.level === "refuse").map((note) => ({ ...note, step })))
