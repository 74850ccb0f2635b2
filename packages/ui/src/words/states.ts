/** States in words, and the mark that stands beside each. Shape carries the state; colour only repeats it. */
import type { Run, RunState, StepState, StepView } from "@hypernode/api/types"
import { percent } from "./format.ts"

export type MarkKind = "done" | "cached" | "running" | "waiting" | "attention" | "failed" | "cancelled"

export const stepMark: Record<StepState, MarkKind> = { waiting: "waiting", running: "running", done: "done", cached: "cached", failed: "failed", cancelled: "cancelled" }

export const stepWord: Record<StepState, string> = { waiting: "waiting", running: "running", done: "done", cached: "from cache", failed: "failed", cancelled: "cancelled" }

export const runMark: Record<RunState, MarkKind> = { queued: "waiting", running: "running", cancelling: "attention", succeeded: "done", failed: "failed", cancelled: "cancelled" }

export const runWord: Record<RunState, string> = { queued: "Queued", running: "Running", cancelling: "Cancelling", succeeded: "Succeeded", failed: "Failed", cancelled: "Cancelled" }

const doing: Record<string, string> = {
  select: "Selecting",
  encrypt: "Encrypting",
  shard: "Sharding",
  train: "Training",
  checkpoint: "Checking the checkpoint",
  package: "Packaging",
  serve: "Starting the endpoint",
  reward: "Settling"
}

export const runs = (state: RunState): boolean => state === "queued" || state === "running" || state === "cancelling"

/** `step` as a share, where its total is known. */
export const share = (step: Pick<StepView, "progress">): number | undefined =>
  step.progress?.total === undefined || step.progress.total <= 0 ? undefined : Math.min(1, step.progress.done / step.progress.total)

/** "Training, 61 %" */
export const runSentence = (run: Run): string => {
  if (run.state === "running") {
    const step = run.steps.find((one) => one.state === "running")
    if (step === undefined) return "Running"
    const part = share(step)
    return `${doing[step.kind] ?? `Running ${step.id}`}${part === undefined ? "" : `, ${percent(part)}`}`
  }
  const failed = run.steps.find((one) => one.state === "failed")
  return run.state === "failed" && failed !== undefined ? `Failed in ${failed.id}` : runWord[run.state]
}
