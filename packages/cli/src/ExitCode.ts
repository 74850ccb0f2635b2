/** Exit codes of `hyper`, as documented in `hyper --help` and README.md. */
export const ExitCode = {
  ok: 0,
  /** a run failed or was cancelled, or something of ours went wrong */
  failed: 1,
  /** the command line itself is wrong */
  usage: 2,
  /** the pipeline file does not plan */
  plan: 3,
  /** something the machine lacks, or a policy refuses: the message says what to install or change */
  refused: 4,
  /** no such run, endpoint or file */
  notFound: 5,
  /** the daemon or the API cannot be reached */
  unreachable: 6,
  /** Ctrl-C */
  interrupted: 130
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** An error for the person at the terminal: what is wrong and where, then what to do next. */
export class CliError extends Error {
  readonly exitCode: ExitCode
  readonly code: string
  readonly remedy: string | undefined
  constructor(exitCode: ExitCode, message: string, options: { readonly code?: string; readonly remedy?: string | undefined } = {}) {
    super(message)
    this.exitCode = exitCode
    this.code = options.code ?? "error"
    this.remedy = options.remedy
  }
}
