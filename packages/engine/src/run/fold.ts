/** The fold from events to a run. Imports no effect at run time: the command line folds too. */
import type { Run, StepView } from "./Run.ts"
import type { StoredEvent } from "./RunEvent.ts"

const patchStep = (run: Run, id: string, patch: (step: StepView) => StepView): Run => ({
  ...run,
  steps: run.steps.map((step) => (step.id === id ? patch(step) : step))
})

const endAttempt = (step: StepView, attempt: number, at: number, outcome: "done" | "failed", message?: string): StepView["attempts"] =>
  step.attempts.map((a) => (a.attempt === attempt ? { ...a, endedAt: at, outcome, ...(message === undefined ? {} : { message }) } : a))

/** An attempt that never said how it ended, and was followed by another: the engine stopped under it. */
const interrupted = (attempts: StepView["attempts"], at: number): StepView["attempts"] =>
  attempts.map((a) => (a.outcome === "running" ? { ...a, endedAt: at, outcome: "failed", message: "the engine stopped during this attempt" } : a))

const without = <K extends keyof StepView>(step: StepView, ...keys: ReadonlyArray<K>): StepView => {
  const copy = { ...step }
  for (const key of keys) delete copy[key]
  return copy
}

/** Folds one event in. Events that no longer apply (a step that ended) change nothing but `lastSeq`. */
export const foldEvent = (run: Run | undefined, { runId, seq, at, event }: StoredEvent): Run | undefined => {
  if (event._tag === "RunQueued") {
    return {
      id: runId,
      pipeline: event.plan.pipeline,
      tenant: event.tenant,
      by: event.by,
      state: "queued",
      plan: event.plan,
      planDigest: event.planDigest,
      projectDirectory: event.projectDirectory,
      createdAt: at,
      generation: 1,
      lastSeq: seq,
      steps: event.plan.steps.map((step) => ({
        id: step.id,
        kind: step.kind,
        plugin: step.plugin.id,
        needs: [...new Set(Object.values(step.inputs).map((wire) => wire.step))],
        state: "waiting",
        attempts: []
      }))
    }
  }
  if (run === undefined) return undefined
  const next: Run = { ...run, lastSeq: seq }
  switch (event._tag) {
    case "RunStarted":
      return { ...next, state: next.state === "cancelling" ? "cancelling" : "running", startedAt: next.startedAt ?? at, executor: event.executor }
    case "StepStarted":
      return patchStep(next, event.step, (step) => ({
        ...without(step, "error", "endedAt"),
        state: "running",
        startedAt: step.startedAt ?? at,
        attempts: [...interrupted(step.attempts.filter((a) => a.attempt !== event.attempt), at), { attempt: event.attempt, startedAt: at, outcome: "running" }]
      }))
    case "StepCached":
      return patchStep(next, event.step, (step) => ({
        ...without(step, "error", "progress"),
        state: "cached",
        startedAt: step.startedAt ?? at,
        endedAt: at,
        output: event.output,
        cacheKey: event.cacheKey,
        fromRun: event.fromRun
      }))
    case "StepProgress":
      return patchStep(next, event.step, (step) => ({
        ...step,
        progress: { label: event.label, done: event.done, unit: event.unit, ...(event.total === undefined ? {} : { total: event.total }) }
      }))
    case "StepLog":
      return next
    case "StepJobStarted":
      return patchStep(next, event.step, (step) => ({ ...step, job: event.job }))
    case "StepEnded":
      return patchStep(next, event.step, (step) => ({
        ...without(step, "error", "progress"),
        state: "done",
        endedAt: at,
        output: event.output,
        cacheKey: event.cacheKey,
        attempts: endAttempt(step, event.attempt, at, "done")
      }))
    case "StepFailed":
      return patchStep(next, event.step, (step) => ({
        ...step,
        state: event.final ? (event.reason === "Cancelled" ? "cancelled" : "failed") : "running",
        ...(event.final ? { endedAt: at } : {}),
        error: { reason: event.reason, message: event.message, ...(event.remedy === undefined ? {} : { remedy: event.remedy }) },
        attempts: endAttempt(step, event.attempt, at, "failed", event.message)
      }))
    case "RunCancelRequested":
      return { ...next, state: next.endedAt === undefined ? "cancelling" : next.state }
    case "RunResumed": {
      const { endedAt: _, ...open } = next
      return {
        ...open,
        state: "running",
        generation: event.generation,
        steps: next.steps.map((step) =>
          step.state === "failed" || step.state === "cancelled"
            ? { ...without(step, "error", "endedAt", "progress", "job"), state: "waiting", attempts: interrupted(step.attempts, at) }
            : step
        )
      }
    }
    case "RunEnded":
      return {
        ...next,
        state: event.outcome,
        endedAt: at,
        steps: next.steps.map((step) => (step.state === "running" ? { ...step, state: "cancelled", endedAt: at } : step))
      }
  }
}

export const foldRun = (events: ReadonlyArray<StoredEvent>): Run | undefined => events.reduce<Run | undefined>(foldEvent, undefined)
