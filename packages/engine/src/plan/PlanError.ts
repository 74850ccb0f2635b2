/** Why there is no plan: every problem found, each with its place and what to do about it. Nothing was started or written. */
import * as Schema from "effect/Schema"
import { relative, sep } from "node:path"
import type { RawIssue } from "../pipeline/RawPlan.ts"

export const PlanIssue = Schema.Struct({
  /** `steps.train.options.lora.rank`, `params.lr`; empty where the file as a whole is meant */
  path: Schema.String,
  message: Schema.String,
  hint: Schema.optionalKey(Schema.String),
  /** of the file where it is, which may be a module that the pipeline file imports */
  file: Schema.optionalKey(Schema.String),
  /** from 1 */
  line: Schema.optionalKey(Schema.Int),
  column: Schema.optionalKey(Schema.Int)
})
export type PlanIssue = typeof PlanIssue.Type

export const PlanErrorReason = Schema.Literals([
  "Unreadable", // no such file, or not a pipeline file
  "Syntax",
  "Unresolved", // an import that leads nowhere
  "Forbidden", // environment, files outside the project, network, processes
  "Timeout",
  "Memory",
  "Failed", // the file threw
  "Invalid", // it describes something that is not a plan
  "Types" // tsc says so (`--types`)
])
export type PlanErrorReason = typeof PlanErrorReason.Type

export class PlanError extends Schema.TaggedError<PlanError>()("PlanError", {
  reason: PlanErrorReason,
  /** as it was given */
  file: Schema.String,
  issues: Schema.Array(PlanIssue),
  /** all of it, for people */
  message: Schema.String,
  /** what the file printed */
  output: Schema.optionalKey(Schema.String)
}) {}

const shown = (path: string): string => {
  const here = relative(process.cwd(), path)
  return here === "" || here.startsWith(`..${sep}`) ? path : here
}

const line = (file: string, issue: PlanIssue): string => {
  const place = `${issue.file === undefined ? file : shown(issue.file)}${issue.line === undefined ? "" : `:${issue.line}${issue.column === undefined ? "" : `:${issue.column}`}`}`
  return `${place}: ${issue.path === "" ? "" : `${issue.path}: `}${issue.message}${issue.hint === undefined ? "" : `\n  → ${issue.hint}`}`
}

export const planError = (reason: PlanErrorReason, file: string, raw: ReadonlyArray<RawIssue>, output = ""): PlanError => {
  const issues = raw.map(({ path, message, hint, at }): PlanIssue => ({
    path,
    message,
    ...(hint === undefined ? {} : { hint }),
    ...(at === undefined ? {} : { file: at.file, line: at.line, column: at.column })
  }))
  return new PlanError({ reason, file, issues, message: issues.map((issue) => line(file, issue)).join("\n"), ...(output === "" ? {} : { output }) })
}
