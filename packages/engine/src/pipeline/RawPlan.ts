/** What the evaluation process hands to the planner: plain JSON, not yet checked. */

export interface Position {
  readonly file: string
  /** from 1 */
  readonly line: number
  readonly column: number
}

export interface RawIssue {
  /** `steps.train.inputs.shards`, `params.lr` */
  readonly path: string
  readonly message: string
  readonly hint?: string
  readonly at?: Position
}

export interface RawStep {
  readonly id: string
  readonly kind: string
  readonly plugin: { readonly id: string; readonly specifier: string; readonly kind: string }
  readonly options: unknown
  readonly inputs: Readonly<Record<string, { readonly step: string; readonly path: ReadonlyArray<string> }>>
  /** where `p.<kind>(...)` was called */
  readonly at?: Position
}

export interface RawPlan {
  readonly pipeline: string
  /** values used */
  readonly params: Readonly<Record<string, unknown>>
  readonly defaults: Readonly<Record<string, unknown>>
  readonly secrets: ReadonlyArray<string>
  readonly steps: ReadonlyArray<RawStep>
  readonly issues: ReadonlyArray<RawIssue>
}
