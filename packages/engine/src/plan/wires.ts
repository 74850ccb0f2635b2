/** Checks every input of every step: known, there, wired to a step that exists and gives what the input takes. */
import { carried, giverOf, type Need, ports } from "../pipeline/ports.ts"
import type { RawIssue, RawStep } from "../pipeline/RawPlan.ts"
import { didYouMean } from "../plugin/near.ts"
import type { StageKind } from "../stage/StageKind.ts"

const name = (wire: { readonly step: string; readonly path: ReadonlyArray<string> }): string => [wire.step, ...wire.path].join(".")

export const wireIssues = (steps: ReadonlyArray<RawStep>, reported: ReadonlySet<string>): ReadonlyArray<RawIssue> => {
  const byId = new Map(steps.map((step) => [step.id, step]))
  return steps.flatMap((step) => {
    const inputs: Readonly<Record<string, Need>> = Object.hasOwn(ports, step.kind) ? ports[step.kind as StageKind].inputs : {}
    const found: Array<RawIssue> = []
    const issue = (input: string, message: string, hint: string): void => {
      const path = `steps.${step.id}.inputs.${input}`
      if (!reported.has(path)) found.push({ path, message, hint, ...(step.at === undefined ? {} : { at: step.at }) })
    }
    const give = (input: string): string => giverOf(input) ?? "another step"
    for (const [input, need] of Object.entries(inputs)) {
      if (need === "required" && !Object.hasOwn(step.inputs, input)) issue(input, `p.${step.kind} needs the input ${input}`, `wire it: ${give(input)} gives it`)
    }
    const either = Object.keys(inputs).filter((input) => inputs[input] === "either")
    const given = either.filter((input) => Object.hasOwn(step.inputs, input))
    if (either.length > 0 && given.length === 0) issue(either[0]!, `p.${step.kind} needs one of the inputs ${either.join(", ")}`, `wire it: ${either.map((input) => `${give(input)} gives ${input}`).join(", or ")}`)
    if (given.length > 1) issue(given[1]!, `p.${step.kind} takes one of the inputs ${either.join(", ")}, not ${given.length}`, `leave ${given.slice(1).join(", ")} out, or write a step for each`)
    for (const [input, wire] of Object.entries(step.inputs)) {
      if (!Object.hasOwn(inputs, input)) {
        issue(input, `p.${step.kind} takes no input ${input}`, didYouMean(input, Object.keys(inputs), `inputs of p.${step.kind}`))
        continue
      }
      const from = byId.get(wire.step)
      if (from === undefined) {
        issue(input, `it is wired to the step ${wire.step}, which is not in this pipeline`, didYouMean(wire.step, byId.keys(), "steps"))
        continue
      }
      const carries = carried(from.kind, wire.path)
      if (carries === undefined) issue(input, `it is wired to ${name(wire)}, but p.${from.kind} gives no such output`, `wire what ${give(input)} returns`)
      else if (carries !== input) issue(input, `it is wired to ${name(wire)}, which carries "${carries}", not "${input}"`, `${give(input)} gives it`)
    }
    return found
  })
}
