/** `hyper plan`: says what would happen and starts nothing. The daemon answers if it happens to run; else this process plans. */
import type { PlanView } from "@hypernode/api/contract/views"
import { Api } from "../client/Api.ts"
import { answers, currentHome, socketOf } from "../client/Daemon.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { planLines } from "../render/plan.ts"
import { pipelinePath, planByApi } from "./pipeline.ts"

export interface PlanOptions {
  readonly json?: boolean
  readonly types?: boolean
  readonly param?: Record<string, unknown>
}

export const plan = async (file: string, options: PlanOptions): Promise<ExitCode> => {
  const path = pipelinePath(file)
  const home = currentHome()
  if (options.types === true) {
    const { checkTypes } = await import("@hypernode/engine/plan/types")
    const problem = await checkTypes(path)
    if (problem !== undefined) throw new CliError(ExitCode.plan, problem.message, { code: "plan_types" })
  }
  const socketPath = socketOf(home)
  const view: PlanView = (await answers(socketPath))
    ? await planByApi(new Api({ socketPath }), path, options.param ?? {})
    : await (await import("../plan/planHere.ts")).planHere(home, path, options.param ?? {})
  process.stdout.write(options.json === true ? `${JSON.stringify(view, null, 2)}\n` : `${planLines(view).join("\n")}\n`)
  return view.warnings.some((w) => w.level === "refuse") ? ExitCode.refused : ExitCode.ok
}
