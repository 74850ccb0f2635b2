/** A plan as `hyper plan` prints it: the steps, what is cached and why, what it needs, costs and does outside the home. */
import type { PlanView } from "@hypernode/api/contract/views"
import { bytes, dollars, duration } from "./words.ts"

const sum = (view: PlanView, of: "seconds" | "dollars"): readonly [number, number] | undefined => {
  const running = new Set(view.steps.filter((s) => !s.cached).map((s) => s.id))
  const spans = Object.entries(view.estimates).flatMap(([id, estimate]) => (running.has(id) && estimate[of] !== undefined ? [estimate[of]] : []))
  return spans.length === 0 ? undefined : [spans.reduce((t, s) => t + s[0], 0), spans.reduce((t, s) => t + s[1], 0)]
}

const union = (view: PlanView, of: "sideEffects" | "tools" | "hosts"): Array<string> => [...new Set(Object.values(view.estimates).flatMap((e) => e[of]))]

export const planLines = (view: PlanView): Array<string> => {
  const { plan } = view
  const width = Math.max(...plan.steps.map((s) => s.id.length))
  const pluginWidth = Math.max(...plan.steps.map((s) => s.plugin.id.length))
  const cached = new Map(view.steps.map((s) => [s.id, s]))
  const seconds = sum(view, "seconds")
  const cost = sum(view, "dollars")
  const download = Object.values(view.estimates).reduce((t, e) => t + (e.downloadBytes ?? 0), 0)
  const list = (name: string, items: ReadonlyArray<string>) => (items.length === 0 ? [] : [`  ${name.padEnd(12)} ${items.join("; ")}`])
  return [
    `${plan.pipeline}  plan ${view.digest.slice(7, 19)}${Object.keys(plan.params).length === 0 ? "" : `  ${Object.entries(plan.params).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(" ")}`}`,
    ...plan.steps.map((step) => {
      const found = cached.get(step.id)
      const inputs = Object.entries(step.inputs).map(([name, wire]) => (wire.path.at(-1) === name || wire.path.length === 0 ? wire.step : `${name} of ${wire.step}`))
      return ` ${found?.cached === true ? "□" : "○"} ${step.id.padEnd(width)}  ${step.plugin.id.padEnd(pluginWidth)}  ${[inputs.length === 0 ? "" : `from ${[...new Set(inputs)].join(", ")}`, found?.why ?? ""].filter((t) => t !== "").join("  ")}`
    }),
    ...list("time", seconds === undefined ? [] : [`about ${duration(seconds[0] * 1000)} to ${duration(seconds[1] * 1000)}`]),
    ...list("cost", cost === undefined ? [] : [`about ${dollars(cost[0])} to ${dollars(cost[1])}`]),
    ...list("download", download === 0 ? [] : [`about ${bytes(download)}`]),
    ...list("needs", union(view, "tools")),
    ...list("hosts", union(view, "hosts")),
    ...list("secrets", plan.secrets),
    ...list("side effects", union(view, "sideEffects")),
    ...view.warnings.map((w) => `  ${w.level === "refuse" ? "refused" : w.level === "warn" ? "warning" : "note"}: ${w.step === undefined ? "" : `${w.step}: `}${w.message}${w.remedy === undefined ? "" : `\n    ${w.remedy}`}`)
  ]
}
