/** Looking at runs and changing their course: `runs`, `status`, `logs`, `cancel`. */
import type { LogChunk, RunSummary } from "@hypernode/api/contract/views"
import type { Run } from "@hypernode/engine/run/Run"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"
import type { Sample } from "@hypernode/engine/telemetry/Sample"
import { setTimeout as sleep } from "node:timers/promises"
import { apiFor } from "../client/Daemon.ts"
import { ExitCode } from "../ExitCode.ts"
import { foldSample, noTraining, rows } from "../render/Screen.ts"
import { dollars, duration } from "../render/words.ts"
import { followToEnd } from "./run.ts"

interface Common {
  readonly json?: boolean
  readonly api?: string
}

const ended = (state: Run["state"]): boolean => state === "succeeded" || state === "failed" || state === "cancelled"

export const runs = async (options: Common & { readonly limit?: string }): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const { runs: list } = await api.get<{ readonly runs: ReadonlyArray<RunSummary> }>(`/api/v1/runs?limit=${options.limit ?? "20"}`)
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(list)}\n`)
    return ExitCode.ok
  }
  if (list.length === 0) process.stdout.write("No runs yet. Start one: hyper run pipeline.ts, or write a pipeline with hyper init\n")
  for (const run of list) {
    const marks = run.steps.map((s) => ({ waiting: "○", running: "◐", done: "■", cached: "□", failed: "✗", cancelled: "⊘" })[s.state]).join("")
    process.stdout.write(
      `${run.id}  ${marks}  ${run.state.padEnd(10)} ${run.pipeline}  ${run.lastLoss === undefined ? "" : `loss ${run.lastLoss.toFixed(3)}  `}${run.dollars === undefined ? "" : `${dollars(run.dollars)}  `}${duration((run.endedAt ?? Date.now()) - run.createdAt)}${run.detail === undefined ? "" : `  ${run.detail}`}\n`
    )
  }
  return ExitCode.ok
}

export const status = async (id: string, options: Common & { readonly watch?: boolean }): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const run = await api.get<Run>(`/api/v1/runs/${encodeURIComponent(id)}`)
  if (options.watch === true && !ended(run.state)) return followToEnd(api, run.id, { ...options, onInterrupt: "detach" })
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(run)}\n`)
    return ExitCode.ok
  }
  const { samples } = await api.get<{ readonly samples: ReadonlyArray<Sample> }>(`/api/v1/runs/${run.id}/samples?limit=10000`)
  const training = samples.reduce(foldSample, noTraining)
  process.stdout.write(`${rows(run, training, Date.now(), { colour: process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined, width: process.stdout.columns ?? 160 }).join("\n")}\n`)
  for (const step of run.steps) if (step.error?.remedy !== undefined && step.state === "failed") process.stdout.write(`   ${step.id}: ${step.error.remedy}\n`)
  return ExitCode.ok
}

const eventLine = ({ at, event }: StoredEvent): string | undefined => {
  const time = new Date(at).toTimeString().slice(0, 8)
  switch (event._tag) {
    case "StepLog":
      return `${time}  ${event.step}  ${event.level}  ${event.message}`
    case "StepFailed":
      return `${time}  ${event.step}  ${event.final ? "failed" : "attempt failed"}  ${event.message}`
    default:
      return undefined
  }
}

/** The engine's lines about the run, then the output of its newest job (or of `--step`). */
export const logs = async (id: string, options: Common & { readonly step?: string; readonly follow?: boolean }): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const first = await api.get<Run>(`/api/v1/runs/${encodeURIComponent(id)}`)
  const step = options.step === undefined ? "" : `&step=${encodeURIComponent(options.step)}`
  let offset = 0
  let after = 0
  for (;;) {
    const run = await api.get<Run>(`/api/v1/runs/${first.id}`)
    const { events } = await api.get<{ readonly events: ReadonlyArray<StoredEvent> }>(`/api/v1/runs/${first.id}/events?after=${after}`)
    for (const stored of events) {
      after = stored.seq
      if (options.step !== undefined && !("step" in stored.event && stored.event.step === options.step)) continue
      const line = options.json === true ? JSON.stringify({ type: "event", ...stored }) : eventLine(stored)
      if (line !== undefined) process.stdout.write(`${line}\n`)
    }
    for (;;) {
      const chunk = await api.get<LogChunk>(`/api/v1/runs/${first.id}/logs?offset=${offset}${step}`)
      if (chunk.text !== "") process.stdout.write(options.json === true ? `${JSON.stringify({ type: "log", text: chunk.text })}\n` : chunk.text)
      if (chunk.nextOffset === offset) break
      offset = chunk.nextOffset
    }
    if (options.follow !== true || ended(run.state)) return ExitCode.ok
    await sleep(500)
  }
}

export const cancel = async (id: string, options: Common): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const run = await api.get<Run>(`/api/v1/runs/${encodeURIComponent(id)}`)
  if (!ended(run.state)) await api.post(`/api/v1/runs/${run.id}/cancel`)
  let now = run
  while (!ended(now.state)) {
    await sleep(200)
    now = await api.get<Run>(`/api/v1/runs/${run.id}`)
  }
  process.stdout.write(options.json === true ? `${JSON.stringify({ runId: now.id, state: now.state })}\n` : ended(run.state) ? `run ${now.id} had already ended: ${now.state}\n` : `run ${now.id} ${now.state}\n`)
  return now.state === "cancelled" || ended(run.state) ? ExitCode.ok : ExitCode.failed
}
