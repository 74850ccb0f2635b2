/** What a registry, or the way to it, refuses with. No URL is kept: an upload's holds the registry's own state, a token server's may hold names. */
export class RegistryFault extends Error {
  override readonly name = "RegistryFault"
  /** of HTTP; 0 where the answer was none that the protocol knows */
  readonly status: number
  /** of the OCI distribution-spec ("Error Codes"), or the system's or TLS's for a way that fails; "" where there is none */
  readonly code: string
  /** the registry's own words, as far as they hold no credentials */
  readonly detail: string
  /** seconds */
  readonly retryAfter: number | undefined
  constructor(message: string, facts: { readonly status?: number; readonly code?: string; readonly detail?: string; readonly retryAfter?: number | undefined } = {}) {
    super(message)
    this.status = facts.status ?? 0
    this.code = facts.code ?? ""
    this.detail = facts.detail ?? ""
    this.retryAfter = facts.retryAfter
  }
}

/** Bytes are not those that their digest names. */
export class DigestFault extends Error {
  override readonly name = "DigestFault"
}

/** What came is well-formed and is not what this plugin works with. */
export class ContentFault extends Error {
  override readonly name = "ContentFault"
  readonly remedy: string
  constructor(message: string, remedy: string) {
    super(message)
    this.remedy = remedy
  }
}

/** The system's code of an error, or of what caused it; "" where there is none. */
export const codeOf = (cause: unknown): string => {
  const error = cause as { readonly code?: unknown; readonly cause?: unknown } | undefined
  if (typeof error?.code === "string") return error.code
  return error?.cause === undefined ? "" : codeOf(error.cause)
}

/** A connection that was cut, refused or fell silent: worth another try at once. Everything else is the durable layer's to decide. */
export const isBlip = (cause: unknown): boolean =>
  !(cause instanceof RegistryFault) && ["ECONNRESET", "EPIPE", "ECONNREFUSED", "ECONNABORTED", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH", "EHOSTUNREACH", "ERR_STREAM_PREMATURE_CLOSE"].includes(codeOf(cause))
