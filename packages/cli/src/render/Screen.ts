/** A run as rows of text: the eight stations one under the other. Pure; the live view repaints it, `hyper status` prints it once. */
import type { Run, StepView } from "@hypernode/engine/run/Run"
import type { Sample } from "@hypernode/engine/telemetry/Sample"
import { count, duration, percent } from "./words.ts"

/** Shape carries the state, colour only repeats it (shared with the page's marks). */
const marks: Readonly<Record<StepView["state"], string>> = { waiting: "○", running: "◐", done: "■", cached: "□", failed: "✗", cancelled: "⊘" }
const colours: Readonly<Record<StepView["state"], number>> = { waiting: 90, running: 36, done: 39, cached: 39, failed: 31, cancelled: 33 }

export interface Training {
  readonly latest: Sample | undefined
  readonly tokensPerSecond: number | undefined
  readonly evalLoss: number | undefined
  readonly startedAt: number | undefined
  readonly firstStep: number
}
export const noTraining: Training = { latest: undefined, tokensPerSecond: undefined, evalLoss: undefined, startedAt: undefined, firstStep: 0 }

export const foldSample = (training: Training, sample: Sample): Training => {
  if (sample.kind === "eval" && sample.evalLoss !== undefined) return { ...training, evalLoss: sample.evalLoss }
  if (sample.kind !== "step" || sample.rank !== 0) return training
  return {
    ...training,
    latest: sample,
    tokensPerSecond: sample.tokensPerSecond ?? training.tokensPerSecond,
    startedAt: training.startedAt ?? sample.at,
    firstStep: training.startedAt === undefined ? sample.step : training.firstStep
  }
}

/** Milliseconds that are left at the pace so far; undefined while it is too early to say. */
export const remaining = (training: Training): number | undefined => {
  const { firstStep, latest, startedAt } = training
  if (latest?.totalSteps === undefined || startedAt === undefined || latest.step - firstStep < 3) return undefined
  return ((latest.at - startedAt) / (latest.step - firstStep)) * (latest.totalSteps - latest.step)
}

export const trainingWords = (training: Training): string => {
  const { latest } = training
  if (latest === undefined) return ""
  const left = remaining(training)
  return [
    `step ${count(latest.step)}${latest.totalSteps === undefined ? "" : ` of ${count(latest.totalSteps)}`}`,
    latest.loss === undefined ? "" : `loss ${latest.loss.toFixed(3)}`,
    training.evalLoss === undefined ? "" : `eval ${training.evalLoss.toFixed(3)}`,
    training.tokensPerSecond === undefined ? "" : `${count(Math.round(training.tokensPerSecond))} tok/s`,
    left === undefined ? "" : `about ${duration(left)} left`
  ].filter((part) => part !== "").join("  ")
}

const stepWords = (run: Run, step: StepView, training: Training, now: number): string => {
  switch (step.state) {
    case "waiting": {
      const needs = step.needs.filter((id) => !["done", "cached"].includes(run.steps.find((s) => s.id === id)?.state ?? ""))
      return needs.length === 0 ? "next" : `waits for ${needs.join(", ")}`
    }
    case "running": {
      const attempt = step.attempts.length > 1 ? `attempt ${step.attempts.length}  ` : ""
      const since = duration(now - (step.attempts.at(-1)?.startedAt ?? step.startedAt ?? now))
      if (step.kind === "train" && training.latest !== undefined) return `${attempt}${trainingWords(training)}`
      if (step.error !== undefined && step.attempts.at(-1)?.outcome === "failed") return `${attempt}will try again: ${step.error.message}`
      const { progress } = step
      if (progress === undefined) return `${attempt}${since}`
      const of = progress.total === undefined || progress.total === 0 ? `${count(progress.done)} ${progress.unit}` : percent(progress.done / progress.total)
      return `${attempt}${progress.label}  ${of}  ${since}`
    }
    case "done":
      return `${duration((step.endedAt ?? now) - (step.startedAt ?? now))}${step.attempts.length > 1 ? `, ${step.attempts.length} attempts` : ""}`
    case "cached":
      return `from cache, run ${step.fromRun?.slice(0, 8) ?? ""}`
    case "failed":
      return step.error?.message ?? "failed"
    case "cancelled":
      return "cancelled"
  }
}

const stateWords = (run: Run): string => {
  const running = run.steps.find((s) => s.state === "running")
  return run.state === "running" && running !== undefined ? running.id : run.state
}

export const rows = (run: Run, training: Training, now: number, options: { readonly colour: boolean; readonly width: number }): Array<string> => {
  const paint = (code: number, text: string) => (options.colour && code !== 39 ? `\x1b[${code}m${text}\x1b[0m` : text)
  const idWidth = Math.max(...run.steps.map((s) => s.id.length))
  const pluginWidth = Math.max(...run.steps.map((s) => s.plugin.length))
  const head = `${run.pipeline} #${run.id}  ${stateWords(run)}  ${duration((run.endedAt ?? now) - run.createdAt)}${run.executor === undefined ? "" : `  ${run.executor} executor`}`
  return [
    options.colour ? `\x1b[1m${run.pipeline}\x1b[0m${head.slice(run.pipeline.length)}` : head,
    ...run.steps.map((step) => {
      const left = ` ${marks[step.state]} ${step.id.padEnd(idWidth)}  ${step.plugin.padEnd(pluginWidth)}  `
      const room = Math.max(10, options.width - left.length - 1)
      const words = stepWords(run, step, training, now)
      return `${paint(colours[step.state], left)}${words.length > room ? `${words.slice(0, room - 1)}…` : words}`
    })
  ]
}
