/** Plans in this process, for `hyper plan` where no daemon runs: the file is being evaluated while effect and the planner load. */
import type { PlanView } from "@hypernode/api/contract/views"
import type { Home } from "@hypernode/engine/Home"
import { evaluate } from "@hypernode/engine/plan/evaluate"
import { usePack } from "../../bin/pack.js"
import { CliError, ExitCode } from "../ExitCode.ts"
import { TENANT } from "../tenant.ts"

export const planHere = async (home: Home, path: string, params: Readonly<Record<string, unknown>>): Promise<PlanView> => {
  const evaluation = evaluate(path, { params, cacheDirectory: home.cache })
  await usePack(home.cache, "plan")
  const [{ planView }, Effect, Exit] = await Promise.all([import("./planView.ts"), import("effect/Effect"), import("effect/Exit")])
  const exit = await Effect.runPromiseExit(planView(home, { tenant: TENANT, path, params: params as never }, evaluation))
  if (Exit.isSuccess(exit)) return exit.value
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  throw new CliError(ExitCode.plan, error?.message ?? String(exit.cause), { code: "plan_invalid" })
}
