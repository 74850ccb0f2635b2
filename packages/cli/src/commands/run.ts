/** `hyper run`: plan, submit, follow to the end, say what was made. Ctrl-C once asks; the run itself lives in the daemon. */
import { createInterface } from "node:readline/promises"
import type { PlanView } from "@hypernode/api/contract/views"
import type { Run } from "@hypernode/engine/run/Run"
import type { Api } from "../client/Api.ts"
import { apiFor, currentHome } from "../client/Daemon.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { followRun, type Mode } from "../render/Follow.ts"
import { planLines } from "../render/plan.ts"
import { summarize, summaryLines } from "../render/summary.ts"
import { pipelinePath, planByApi, projectOf, refuse } from "./pipeline.ts"

export interface RunOptions {
  readonly json?: boolean
  readonly detach?: boolean
  readonly api?: string
  readonly param?: Record<string, unknown>
  readonly onInterrupt?: "ask" | "detach" | "cancel"
}

export const modeOf = (json: boolean | undefined): Mode => (json === true ? "json" : process.stdout.isTTY && process.env["TERM"] !== "dumb" ? "live" : "plain")

/** The secrets that a plan or a watch names and this shell has go to the daemon's keyring over the home's socket, never into the plan. */
export const handOverSecrets = async (api: Api, names: ReadonlyArray<string>): Promise<void> => {
  if (api.target.socketPath === undefined) return
  for (const name of names) {
    const value = process.env[name]
    if (value !== undefined) await api.post("/api/v1/daemon/secrets", { name, value })
  }
}

const decide = async (runId: string, how: RunOptions["onInterrupt"]): Promise<"detach" | "cancel"> => {
  if (how === "detach" || how === "cancel") return how
  if (!process.stdin.isTTY || !process.stderr.isTTY) return "detach"
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await ask.question(`\nRun ${runId} goes on without this terminal. Cancel it instead? [y/N] `)
    return /^y/i.test(answer.trim()) ? "cancel" : "detach"
  } catch {
    return "detach"
  } finally {
    ask.close()
  }
}

/** Follows `runId` and exits as it ended. */
export const followToEnd = async (api: Api, runId: string, options: RunOptions): Promise<ExitCode> => {
  const mode = modeOf(options.json)
  const stop = new AbortController()
  let asked = false
  const onInterrupt = () => {
    if (asked) process.exit(ExitCode.interrupted)
    asked = true
    stop.abort()
  }
  process.on("SIGINT", onInterrupt).on("SIGTERM", onInterrupt)
  let run: Run
  try {
    run = await followRun(api, runId, mode, stop.signal)
  } catch (cause) {
    if (!stop.signal.aborted) throw cause
    const choice = await decide(runId, options.onInterrupt)
    if (choice === "detach") {
      process.stderr.write(`Run ${runId} goes on. Follow it: hyper status ${runId} --watch. Cancel it: hyper cancel ${runId}\n`)
      return ExitCode.interrupted
    }
    await api.post(`/api/v1/runs/${runId}/cancel`)
    process.stderr.write(`Cancelling run ${runId}: its jobs are stopped and measured work is settled.\n`)
    run = await followRun(api, runId, mode)
  } finally {
    process.off("SIGINT", onInterrupt).off("SIGTERM", onInterrupt)
  }
  const summary = await summarize(api, run)
  if (mode === "json") process.stdout.write(`${JSON.stringify({ type: "summary", ...summary })}\n`)
  else {
    process.stdout.write(`${summaryLines(summary).join("\n")}\n`)
    if (run.state === "succeeded" && summary.endpoint !== undefined) process.stdout.write("hyper endpoints lists and stops what is left running; hyper stop ends everything.\n")
    if (run.state === "failed") process.stdout.write(`What ended stays ended. When the cause is mended: hyper resume ${run.id}\n`)
  }
  return run.state === "succeeded" ? ExitCode.ok : ExitCode.failed
}

export const run = async (file: string, options: RunOptions): Promise<ExitCode> => {
  const path = pipelinePath(file)
  const params = options.param ?? {}
  let here: Promise<PlanView> | undefined
  const api = await apiFor(options.api, () => {
    here = import("../plan/planHere.ts").then(({ planHere }) => planHere(currentHome(), path, params))
    // told when it is awaited: a daemon that does not start is the greater trouble
    here.catch(() => undefined)
  })
  const view = await (here ?? planByApi(api, path, params))
  refuse(view)
  await handOverSecrets(api, view.plan.secrets)
  if (options.json === true) process.stdout.write(`${JSON.stringify({ type: "plan", digest: view.digest, plan: view.plan, steps: view.steps })}\n`)
  else if (!process.stdout.isTTY) process.stdout.write(`${planLines(view).join("\n")}\n`)
  else for (const w of view.warnings) process.stdout.write(`${w.level === "warn" ? "warning: " : ""}${w.message}\n`)
  const { id } = await api.post<{ readonly id: string }>("/api/v1/runs", { plan: view.plan, projectDirectory: projectOf(path) })
  if (id === undefined) throw new CliError(ExitCode.failed, "the daemon gave no run id")
  if (options.detach === true) {
    process.stdout.write(options.json === true ? `${JSON.stringify({ type: "submitted", runId: id })}\n` : `run ${id}\n`)
    return ExitCode.ok
  }
  return followToEnd(api, id, options)
}

export const resume = async (id: string, options: RunOptions): Promise<ExitCode> => {
  const api = await apiFor(options.api)
  const run = await api.get<Run>(`/api/v1/runs/${encodeURIComponent(id)}`)
  await api.post(`/api/v1/runs/${run.id}/resume`)
  return followToEnd(api, run.id, options)
}
