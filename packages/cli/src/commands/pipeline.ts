/** What `plan` and `run` share: the file's path, `--param` values, and planning by the daemon or in this process. */
import { existsSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { PlanView } from "@hypernode/api/contract/views"
import type { Api } from "../client/Api.ts"
import { CliError, ExitCode } from "../ExitCode.ts"

export const pipelinePath = (file: string): string => {
  const path = resolve(file)
  if (!existsSync(path)) throw new CliError(ExitCode.notFound, `there is no pipeline file ${file}`, { code: "no_file", remedy: "hyper init writes one to start from" })
  return path
}

/** `lr=1e-4`: kept as text; the planner reads it by the type of the parameter's default. */
export const collectParam = (text: string, previous: Record<string, unknown> = {}): Record<string, unknown> => {
  const at = text.indexOf("=")
  if (at < 1) throw new CliError(ExitCode.usage, `--param ${text}: write it as name=value`, { remedy: "for example --param lr=1e-4" })
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) }
}

export const planByApi = (api: Api, path: string, params: Readonly<Record<string, unknown>>): Promise<PlanView> => api.post<PlanView>("/api/v1/plan", { path, params })

export const projectOf = (path: string): string => dirname(path)

export const refuse = (view: PlanView): void => {
  const refused = view.warnings.filter((w) => w.level === "refuse")
  const first = refused[0]
  if (first === undefined) return
  throw new CliError(ExitCode.refused, refused.map((w) => `${w.step === undefined ? "" : `${w.step}: `}${w.message}`).join("\n"), { code: "refused", remedy: first.remedy })
}
