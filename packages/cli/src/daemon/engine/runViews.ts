/** From a run's fold and samples to what lists and the dashboard show. */
import { existsSync } from "node:fs"
import type { RunSummary } from "@hypernode/api/contract/views"
import type { Run } from "@hypernode/engine/run/Run"
import type { Settlement, Trained } from "@hypernode/engine/stage/values"

const trainedOf = (run: Run): Trained | undefined => run.steps.find((s) => s.kind === "train" && s.state === "done")?.output as Trained | undefined

/** As the trainer reported it; while it trains, what this machine has. */
export const deviceClassOf = (run: Run): string => trainedOf(run)?.deviceClass ?? (existsSync("/proc/driver/nvidia/version") ? "cuda" : "cpu")

export const settlementOf = (run: Run): Settlement | undefined => run.steps.find((s) => s.kind === "reward" && s.state === "done")?.output as Settlement | undefined

export const summaryOf = (run: Run, dollars: number | undefined): RunSummary => {
  const at = run.steps.find((s) => s.state === "running") ?? run.steps.find((s) => s.state === "failed")
  const detail = at === undefined ? undefined : at.state === "failed" ? `${at.id}: ${at.error?.message ?? "failed"}` : at.progress === undefined ? at.id : `${at.id}: ${at.progress.label}`
  const loss = trainedOf(run)?.lastLoss
  return {
    id: run.id,
    pipeline: run.pipeline,
    state: run.state,
    by: run.by,
    createdAt: run.createdAt,
    ...(run.startedAt === undefined ? {} : { startedAt: run.startedAt }),
    ...(run.endedAt === undefined ? {} : { endedAt: run.endedAt }),
    steps: run.steps.map(({ id, kind, state }) => ({ id, kind, state })),
    ...(detail === undefined ? {} : { detail }),
    ...(loss === undefined ? {} : { lastLoss: loss }),
    ...(dollars === undefined ? {} : { dollars })
  }
}
