/** One stage in words: what does it, how far it is, what came of it. */
import type { Run, StepView } from "@hypernode/api/types"
import { count, duration, shortDigest } from "./format.ts"
import { share } from "./states.ts"

type Loose = Record<string, any>

const output = (step: StepView): Loose => (typeof step.output === "object" && step.output !== null ? (step.output as Loose) : {})

const plural = (n: number, one: string): string => `${count(n)} ${one}${n === 1 ? "" : "s"}`

/** "age, 12 segments" */
export const stepHow = (step: StepView, run: Run): string => {
  const made = output(step)
  const options = (run.plan.steps.find((one) => one.id === step.id)?.options ?? {}) as Loose
  const parts = [step.plugin]
  if (step.kind === "encrypt" && Array.isArray(made["segments"])) parts.push(plural(made["segments"].length, "segment"))
  if (step.kind === "shard" && Array.isArray(made["slots"])) parts.push(plural(made["slots"].length, "slot"))
  if (step.kind === "train" && typeof options["method"] === "string") parts.push(options["method"] === "lora" ? "LoRA" : "full")
  if (step.attempts.length > 1) parts.push(`attempt ${step.attempts.at(-1)!.attempt}`)
  return parts.join(", ")
}

/** Milliseconds left, where progress says. From this attempt's pace. */
export const remaining = (step: StepView, now: number): number | undefined => {
  const part = share(step)
  const started = step.attempts.at(-1)?.startedAt
  return part === undefined || part < 0.02 || started === undefined ? undefined : ((now - started) * (1 - part)) / part
}

/** "step 1,952 of 3,200, about 27 m left" */
export const stepFigure = (step: StepView, run: Run, now: number): string => {
  switch (step.state) {
    case "cached":
      return "from cache"
    case "done":
      return step.startedAt === undefined || step.endedAt === undefined ? "done" : duration(step.endedAt - step.startedAt)
    case "failed":
      return step.error?.reason === undefined ? "failed" : `failed: ${step.error.message}`
    case "cancelled":
      return "cancelled"
    case "waiting": {
      if (run.endedAt !== undefined) return "not reached"
      const blocker = step.needs.find((need) => !["done", "cached"].includes(run.steps.find((one) => one.id === need)?.state ?? ""))
      return blocker === undefined ? "next" : `waits for ${blocker}`
    }
    case "running": {
      const { progress } = step
      if (progress === undefined) return step.startedAt === undefined ? "running" : `${duration(now - step.startedAt)} so far`
      const left = remaining(step, now)
      const done = progress.unit === "bytes" ? "" : progress.total === undefined ? `${progress.label} ${count(progress.done)}` : `${progress.unit.replace(/s$/, "")} ${count(progress.done)} of ${count(progress.total)}`
      return [done === "" ? progress.label : done, left === undefined ? "" : `about ${duration(left)} left`].filter((part) => part !== "").join(", ")
    }
  }
}

/** Of what the stage made, where that is content under a digest. */
export const stepDigest = (step: StepView): string | undefined => {
  const made = output(step)
  const digest = made["digest"] ?? made["tree"]?.digest ?? made["model"]?.tree?.digest
  return typeof digest === "string" ? digest : undefined
}

export { shortDigest }
