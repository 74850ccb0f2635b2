/** Steps in an order in which each comes after what it takes from; otherwise as they were written. */
import type { RawStep } from "../pipeline/RawPlan.ts"

type Wired = Pick<RawStep, "id" | "inputs">

const needs = (step: Wired): ReadonlyArray<string> => [...new Set(Object.values(step.inputs).map((wire) => wire.step))]

/** One cycle as ids, the first repeated at the end: `["train", "checkpoint", "train"]`. */
const cycleIn = (steps: ReadonlyArray<Wired>): ReadonlyArray<string> => {
  const byId = new Map(steps.map((step) => [step.id, step]))
  const path: Array<string> = []
  let id = steps[0]!.id
  while (!path.includes(id)) {
    path.push(id)
    // every step left takes from another step left, so there always is one
    id = needs(byId.get(id)!).find((other) => byId.has(other))!
  }
  const loop = path.slice(path.indexOf(id)).toReversed()
  return [loop.at(-1)!, ...loop]
}

/** Wires to steps that are not there are passed over: they are reported elsewhere. */
export const inOrder = <S extends Wired>(steps: ReadonlyArray<S>): { readonly ok: true; readonly steps: ReadonlyArray<S> } | { readonly ok: false; readonly cycle: ReadonlyArray<string> } => {
  const known = new Set(steps.map((step) => step.id))
  const placed = new Set<string>()
  const ordered: Array<S> = []
  let left = [...steps]
  while (left.length > 0) {
    const next = left.find((step) => needs(step).every((id) => placed.has(id) || !known.has(id)))
    if (next === undefined) return { ok: false, cycle: cycleIn(left) }
    ordered.push(next)
    placed.add(next.id)
    left = left.filter((step) => step !== next)
  }
  return { ok: true, steps: ordered }
}
