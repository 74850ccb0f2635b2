/** Follows a run to its end: repainted rows on a terminal, plain lines in a pipe, one JSON event a line with `--json`. */
import { foldEvent } from "@hypernode/engine/run/fold"
import type { Run } from "@hypernode/engine/run/Run"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"
import type { Sample } from "@hypernode/engine/telemetry/Sample"
import type { Api } from "../client/Api.ts"
import { foldSample, noTraining, rows, type Training, trainingWords } from "./Screen.ts"
import { bytes, duration, percent } from "./words.ts"

const REPAINT_MILLIS = 120
/** In a pipe, a line of training every so often: a log is read, not watched. */
const PLAIN_TRAINING_MILLIS = 5_000
const PLAIN_PROGRESS_MILLIS = 3_000

interface View {
  readonly event: (stored: StoredEvent, run: Run) => void
  readonly sample: (sample: Sample, run: Run | undefined, training: Training) => void
  readonly close: () => void
}

const jsonView = (): View => ({
  event: (stored) => process.stdout.write(`${JSON.stringify({ type: "event", ...stored })}\n`),
  sample: (sample) => process.stdout.write(`${JSON.stringify({ type: "sample", ...sample })}\n`),
  close: () => undefined
})

const plainView = (): View => {
  let lastTraining = 0
  const lastProgress = new Map<string, number>()
  const line = (text: string) => process.stdout.write(`${text}\n`)
  return {
    event: ({ at, event }, run) => {
      const plugin = "step" in event ? (run.steps.find((s) => s.id === event.step)?.plugin ?? "") : ""
      switch (event._tag) {
        case "RunQueued":
          return line(`run ${run.id}: ${run.pipeline}, ${run.steps.length} steps`)
        case "RunStarted":
          return line(`${event.executor} executor`)
        case "StepStarted":
          return line(`${event.step}: started (${plugin}${event.attempt > 1 ? `, attempt ${event.attempt}` : ""})`)
        case "StepCached":
          return line(`${event.step}: from cache (run ${event.fromRun.slice(0, 8)})`)
        case "StepProgress": {
          const last = lastProgress.get(event.step) ?? 0
          if (run.steps.find((s) => s.id === event.step)?.kind === "train" && event.unit === "steps") return
          if (at - last < PLAIN_PROGRESS_MILLIS && event.done !== event.total) return
          lastProgress.set(event.step, at)
          const amount = event.unit === "bytes" ? bytes(event.done) : `${event.done} ${event.unit}`
          return line(`${event.step}: ${event.label}, ${amount}${event.total === undefined ? "" : ` (${percent(event.done / Math.max(1, event.total))})`}`)
        }
        case "StepLog":
          return line(`${event.step}: ${event.level === "warn" ? "warning: " : ""}${event.message}`)
        case "StepEnded": {
          const step = run.steps.find((s) => s.id === event.step)
          return line(`${event.step}: done in ${duration((step?.endedAt ?? at) - (step?.startedAt ?? at))}`)
        }
        case "StepFailed":
          return line(`${event.step}: ${event.final ? "failed" : "attempt failed, will try again"}: ${event.message}${event.remedy === undefined ? "" : `\n  ${event.remedy}`}`)
        case "RunCancelRequested":
          return line(`cancelling (asked by ${event.by})`)
        case "RunResumed":
          return line(`resumed by ${event.by}`)
        case "RunEnded":
          return line(`run ${run.id} ${event.outcome} after ${duration(at - run.createdAt)}`)
        case "StepJobStarted":
          return undefined
      }
    },
    sample: (sample, _run, training) => {
      if (sample.kind === "eval" && sample.evalLoss !== undefined) return line(`train: step ${sample.step}  eval loss ${sample.evalLoss.toFixed(3)}`)
      if (sample.kind !== "step" || sample.rank !== 0) return
      if (sample.at - lastTraining < PLAIN_TRAINING_MILLIS && sample.step !== sample.totalSteps) return
      lastTraining = sample.at
      line(`train: ${trainingWords(training)}`)
    },
    close: () => undefined
  }
}

const liveView = (state: { run: Run | undefined; training: Training }): View => {
  const log: Array<string> = []
  let painted = 0
  const paint = () => {
    if (state.run === undefined) return
    const width = process.stdout.columns || 100
    const text = [...log.splice(0).map((l) => l.slice(0, width - 1)).map((l) => `${l}\x1b[K`), ...rows(state.run, state.training, Date.now(), { colour: process.env["NO_COLOR"] === undefined, width }).map((row) => `${row}\x1b[K`)]
    process.stdout.write(`${painted > 0 ? `\x1b[${painted}A\r` : ""}${text.join("\n")}\n\x1b[J`)
    painted = state.run.steps.length + 1
  }
  process.stdout.write("\x1b[?25l")
  const timer = setInterval(paint, REPAINT_MILLIS)
  const onExit = () => process.stdout.write("\x1b[?25h")
  process.once("exit", onExit)
  return {
    event: ({ event }) => {
      if (event._tag === "StepLog") log.push(`   ${event.step}: ${event.message}`)
      if (event._tag === "StepFailed" && event.remedy !== undefined) log.push(`   ${event.step}: ${event.remedy}`)
    },
    sample: () => undefined,
    close: () => {
      clearInterval(timer)
      paint()
      onExit()
      process.removeListener("exit", onExit)
    }
  }
}

export type Mode = "live" | "plain" | "json"

/** Returns the run as it stands when its log ends. */
export const followRun = async (api: Api, runId: string, mode: Mode, signal?: AbortSignal): Promise<Run> => {
  const state: { run: Run | undefined; training: Training } = { run: undefined, training: noTraining }
  const view = mode === "json" ? jsonView() : mode === "plain" ? plainView() : liveView(state)
  try {
    for await (const message of api.events(() => `/api/v1/runs/${runId}/stream`, signal)) {
      if (message.type === "run") {
        const stored = JSON.parse(message.data) as StoredEvent
        state.run = foldEvent(state.run, stored)
        if (state.run !== undefined) view.event(stored, state.run)
      } else if (message.type === "end") {
        // said by the server when the log's last event is RunEnded: a resumed run has an earlier one too
        break
      } else if (message.type === "sample") {
        for (const sample of JSON.parse(message.data) as ReadonlyArray<Sample>) {
          state.training = foldSample(state.training, sample)
          view.sample(sample, state.run, state.training)
        }
      }
    }
  } finally {
    view.close()
  }
  return state.run ?? (await api.get<Run>(`/api/v1/runs/${runId}`))
}
