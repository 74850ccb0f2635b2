/** What passes between the planner and the evaluation process. */
import type { RawIssue, RawPlan } from "../pipeline/RawPlan.ts"

export interface EvaluationRequest {
  /** absolute, real path */
  readonly file: string
  /** what counts as the user's own code, for positions */
  readonly root: string
  readonly params: Readonly<Record<string, unknown>>
  /** path of `evaluator`, for the boot file */
  readonly evaluator: string
  /** the project's file of stripped sources, where one is kept */
  readonly stripped?: string
}

export type EvaluationReason =
  | "Unreadable" // no such file, not a file, not TypeScript or JavaScript
  | "Syntax"
  | "Unresolved" // an import that leads nowhere
  | "Forbidden" // environment, files outside, network, processes
  | "Timeout"
  | "Memory"
  | "Invalid" // ran, but did not describe a pipeline
  | "Failed" // threw

export type EvaluationReply =
  | { readonly ok: true; readonly raw: RawPlan }
  | { readonly ok: false; readonly reason: EvaluationReason; readonly issues: ReadonlyArray<RawIssue> }

/** As it passes the descriptor. `missed`: TypeScript files that had to be stripped there. */
export type EvaluationMessage = EvaluationReply & { readonly missed: ReadonlyArray<string> }

/** `output`: what the file printed (standard output and error together, cut at 64 KiB). */
export type Evaluation = EvaluationReply & { readonly output: string }
