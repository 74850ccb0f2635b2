/** The log as a reader sees it: what the run's events say, in words, and what training reports. */
import type { SampleRow, StoredEvent } from "@hypernode/api/types"
import { bytes, count, loss, rate } from "../words/format.ts"

export interface Line {
  readonly key: string
  /** epoch milliseconds; absent for a process's own output, which carries no time */
  readonly at?: number
  readonly source: string
  readonly level: "info" | "warn" | "bad"
  readonly text: string
}

const line = (event: StoredEvent, source: string, level: Line["level"], text: string): Line => ({ key: `e${event.seq}`, at: event.at, source, level, text })

const word: Record<string, string> = { loading: "loading the model", training: "training", saving: "saving a checkpoint", done: "done" }

export const eventLine = (stored: StoredEvent): Line | undefined => {
  const { event } = stored
  switch (event._tag) {
    case "RunQueued":
      return line(stored, "run", "info", `queued by ${event.by}, ${event.plan.steps.length} stages`)
    case "RunStarted":
      return line(stored, "run", "info", `started by the ${event.executor} executor`)
    case "StepStarted":
      return line(stored, event.step, "info", event.attempt === 1 ? "started" : `started, attempt ${event.attempt}`)
    case "StepCached":
      return line(stored, event.step, "info", `from cache, made by ${event.fromRun}`)
    case "StepLog":
      return line(stored, event.step, event.level, event.message)
    case "StepJobStarted":
      return line(stored, event.step, "info", "process started")
    case "StepEnded":
      return line(stored, event.step, "info", "done")
    case "StepFailed":
      return line(stored, event.step, event.final ? "bad" : "warn", `${event.message}${event.remedy === undefined ? "" : `. ${event.remedy}`}${event.final ? "" : "; trying again"}`)
    case "RunCancelRequested":
      return line(stored, "run", "warn", `cancel asked for by ${event.by}`)
    case "RunEnded":
      return line(stored, "run", event.outcome === "failed" ? "bad" : "info", event.outcome)
    case "StepProgress":
      return undefined
  }
}

export const sampleLine = (row: SampleRow): Line | undefined => {
  const source = `slot ${row.rank}`
  const base = { key: `s${row.id}`, at: row.at, source, level: "info" as const }
  if (row.kind === "phase") return { ...base, text: row.text === "resumed" ? `resumed from step ${count(row.step)}` : word[row.text ?? ""] ?? row.text ?? "phase" }
  if (row.kind === "checkpoint") return { ...base, text: `checkpoint at step ${count(row.step)}` }
  if (row.kind === "eval") return { ...base, text: `step ${count(row.step)} eval loss ${row.evalLoss === undefined ? "none" : loss(row.evalLoss)}` }
  if (row.kind === "step" && row.loss !== undefined) {
    const parts = [`step ${count(row.step)}`, `loss ${loss(row.loss)}`]
    if (row.learningRate !== undefined) parts.push(`lr ${rate(row.learningRate)}`)
    if (row.tokensPerSecond !== undefined) parts.push(`${count(row.tokensPerSecond)} tok/s`)
    if (row.memoryBytes !== undefined) parts.push(bytes(row.memoryBytes))
    return { ...base, text: parts.join(" ") }
  }
  return undefined
}
