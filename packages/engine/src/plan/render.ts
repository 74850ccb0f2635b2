/**
 * A plan's graph as text: one line a step on a spine, a column for each wire that is still open, so that branches and joins can be
 * followed by eye. `hyper plan` prints it; the JSON of a plan is the plan itself.
 *
 *     ○ select      local         model a, dataset b
 *     ├─○ encrypt   age           dataset
 */
import type { Plan, PlanStep } from "./Plan.ts"

const needs = (step: PlanStep): ReadonlyArray<string> => [...new Set(Object.values(step.inputs).map((wire) => wire.step))]

/** How deep a step stands: 0 on the spine, one more for every branch that left it before. */
const columns = (plan: Plan): ReadonlyMap<string, number> => {
  const column = new Map<string, number>()
  const followed = new Map<string, number>()
  for (const step of plan.steps) {
    // A step stands under the latest step it takes from; the first to follow it goes on in its column, later ones branch off.
    const parent = needs(step).toSorted((a, b) => plan.steps.findIndex((s) => s.id === b) - plan.steps.findIndex((s) => s.id === a))[0]
    if (parent === undefined) {
      column.set(step.id, 0)
      continue
    }
    const nth = followed.get(parent) ?? 0
    followed.set(parent, nth + 1)
    column.set(step.id, (column.get(parent) ?? 0) + nth)
  }
  return column
}

const wires = (step: PlanStep): string =>
  Object.entries(step.inputs).map(([input, wire]) => (wire.path.length === 0 || wire.path.at(-1) === input ? `${input} ← ${wire.step}` : `${input} ← ${[wire.step, ...wire.path].join(".")}`)).join(", ")

/** One line a step: marker at the branch's depth, id, plugin, where its inputs come from. `mark` gives the marker (default ○). */
export const graphLines = (plan: Plan, mark: (stepId: string) => string = () => "○"): ReadonlyArray<string> => {
  const column = columns(plan)
  const heads = plan.steps.map((step) => {
    const depth = column.get(step.id) ?? 0
    return `${depth === 0 ? "" : `${"│ ".repeat(depth - 1)}├─`}${mark(step.id)} ${step.id}`
  })
  const width = Math.max(0, ...heads.map((head) => head.length))
  const plugins = Math.max(0, ...plan.steps.map((step) => step.plugin.id.length))
  return plan.steps.map((step, i) => `${heads[i]!.padEnd(width)}  ${step.plugin.id.padEnd(plugins)}  ${wires(step)}`.trimEnd())
}
