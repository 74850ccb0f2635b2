/** Thrown by the builder inside the evaluation process; the parent turns it into a PlanError that also names the file and line. */
export class PipelineError extends Error {
  /** `steps.train.inputs.shards`, `params.lr` */
  readonly path: string
  readonly hint: string | undefined
  constructor(path: string, message: string, hint?: string) {
    super(message)
    this.name = "PipelineError"
    this.path = path
    this.hint = hint
  }
}
