/** What a hub refuses with, and what that means for the run. */
import { StageError } from "@hypernode/engine/stage/StageError"

/** `code`: the hub's X-Error-Code, or the system's for a network that fails. `retryAfter`: seconds. */
export class HubFault extends Error {
  readonly status: number
  readonly code: string
  readonly retryAfter: number | undefined
  constructor(status: number, code: string, message: string, retryAfter?: number) {
    super(message)
    this.status = status
    this.code = code
    this.retryAfter = retryAfter
  }
}

/** The bytes are not those that the hub's own list names. */
export class DigestFault extends Error {}

export interface Asked {
  readonly endpoint: string
  /** `org/name`, or `datasets/org/name` */
  readonly repo: string
  readonly revision: string
  readonly hasToken: boolean
}

const DISK = new Set(["ENOSPC", "EDQUOT", "EFBIG"])
const codeOf = (cause: unknown): string => {
  const error = cause as { readonly code?: unknown; readonly name?: string; readonly cause?: unknown }
  if (typeof error?.code === "string") return error.code
  return error?.cause === undefined ? (error?.name === "TimeoutError" ? "ETIMEDOUT" : "unknown failure") : codeOf(error.cause)
}

export const hubFailure = ({ endpoint, hasToken, repo, revision }: Asked, cause: unknown): StageError => {
  if (cause instanceof DigestFault) return new StageError({ reason: "Corrupt", message: cause.message, remedy: "Nothing of it was kept. Run again; if it happens twice, a proxy or mirror in between changes the file." })
  if (!(cause instanceof HubFault)) {
    const code = codeOf(cause)
    if (DISK.has(code)) return new StageError({ reason: "OutOfSpace", message: `The disk is full (${code}) while ${repo} was being downloaded.`, remedy: "Free some space where HYPER_CACHE lies and run `hyper resume`: the download goes on where it stopped." })
    if (code === "EACCES" || code === "EROFS" || code === "EPERM") return new StageError({ reason: "Denied", message: `The cache cannot be written (${code}).`, remedy: "Set HYPER_CACHE to a directory that you may write." })
    return new StageError({ reason: "Unavailable", message: `${new URL(endpoint).host} cannot be reached for ${repo} (${code}).`, remedy: "Check the network and its proxy, name a mirror with HF_ENDPOINT, or download the model and select it with local({ model })." })
  }
  const page = `${endpoint}/${repo}`
  const set = 'pass its token with token: secret("HF_TOKEN")'
  if (cause.code === "GatedRepo") {
    return new StageError({ reason: "Denied", message: `${repo} is gated${hasToken ? ", and this token's account has no access yet" : ""}.`, remedy: hasToken ? `Request access at ${page} with the account of the token.` : `Request access at ${page}, then ${set}.` })
  }
  if (cause.status === 401 || cause.status === 403) {
    return hasToken
      ? new StageError({ reason: "Denied", message: `${new URL(endpoint).host} does not accept the token for ${repo} (HTTP ${cause.status}).`, remedy: `Check that it is valid and may read ${page}.` })
      : new StageError({ reason: "Denied", message: `${repo} is private, or there is no such repository at ${new URL(endpoint).host} (HTTP ${cause.status}).`, remedy: `Check its name at ${page}; if it is private, ${set}.` })
  }
  if (cause.code === "RevisionNotFound") return new StageError({ reason: "InvalidInput", message: `${repo} has no revision ${JSON.stringify(revision)}.`, remedy: `Its branches and commits are listed at ${page}/tree/main.` })
  if (cause.code === "EntryNotFound") return new StageError({ reason: "InvalidInput", message: cause.message, remedy: `Its files are listed at ${page}/tree/${revision}.` })
  if (cause.status === 404) return new StageError({ reason: "InvalidInput", message: `There is no repository ${repo} at ${new URL(endpoint).host}.`, remedy: `Check its name at ${page}${hasToken ? "" : `; if it is private, ${set}`}.` })
  const after = cause.retryAfter === undefined ? {} : { retryAfter: cause.retryAfter }
  if (cause.status === 429) return new StageError({ reason: "Unavailable", message: `${new URL(endpoint).host} limits how often it answers (HTTP 429).`, ...(hasToken ? {} : { remedy: `Requests with a token have a higher limit: ${set}.` }), ...after })
  return new StageError({ reason: cause.status >= 500 || cause.status === 0 ? "Unavailable" : "InvalidInput", message: `${new URL(endpoint).host} answers ${cause.status === 0 ? cause.message : `HTTP ${cause.status}`} for ${repo}.`, ...after })
}
