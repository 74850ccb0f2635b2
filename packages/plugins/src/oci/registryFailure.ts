/** What a registry's refusal means for the run, and what to do about it. */
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Reference } from "./Reference.ts"
import { codeOf, ContentFault, DigestFault, RegistryFault } from "./RegistryFault.ts"

export interface Sought {
  readonly reference: Pick<Reference, "host" | "repository">
  readonly does: "push" | "pull"
  /** how they were named: `secret("NAME")` or `"docker"`; undefined: none were given */
  readonly credentials: string | undefined
}

const DISK = new Set(["ENOSPC", "EDQUOT", "EFBIG"])
const LOCAL = new Set(["EACCES", "EPERM", "EROFS", "ENOENT", "EIO"])
const TLS = /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+|HOSTNAME_MISMATCH)$/
/** docker-registry answers a full disk with 500 and the system's own words or number (28); others with 507 or a quota */
const FULL = /no space left|"Err":\s*28\b|ENOSPC|disk quota|quota exceeded|exceeds? the .{0,40}quota|storage quota/i

const fullRegistry = (status: number, detail: string): boolean => status === 507 || FULL.test(detail)

const local = (sought: Sought, code: string): StageError => {
  const pulls = sought.does === "pull"
  if (DISK.has(code)) return new StageError({ reason: "OutOfSpace", message: `The disk of this machine is full (${code}).`, remedy: "Free some space, then `hyper resume`: what has come is kept." })
  return pulls
    ? new StageError({ reason: "Denied", message: `The cache cannot be written (${code}).`, remedy: "Set HYPER_CACHE to a directory that you may write." })
    : new StageError({ reason: "Missing", message: `A blob of the package cannot be read (${code}).`, remedy: "Run again: packaging makes what is missing." })
}

const network = (host: string, code: string): StageError => {
  if (TLS.test(code)) return new StageError({ reason: "Denied", message: `${host} shows a certificate that this machine does not trust (${code}).`, remedy: "Put the authority's certificate (PEM) into a file, set NODE_EXTRA_CA_CERTS to it, then `hyper stop` and run again." })
  if (code === "EPROTO" || code.startsWith("ERR_SSL_")) return new StageError({ reason: "InvalidInput", message: `${host} does not speak TLS.`, remedy: "If it is a registry in a network that you trust, say insecure: true; model and credentials then cross it unencrypted." })
  if (code.startsWith("HPE_")) return new StageError({ reason: "InvalidInput", message: `${host} answers something that is not HTTP (${code}).`, remedy: "Check host and port; a registry that speaks TLS on this machine wants insecure: false." })
  return new StageError({ reason: "Unavailable", message: `${host} cannot be reached, or cut the connection (${code || "unknown failure"}).`, remedy: "Check the registry and the network, then `hyper resume`: what has arrived is not sent again." })
}

const refused = (sought: Sought): StageError => {
  const { credentials, does, reference: { host, repository } } = sought
  const may = does === "push" ? "write to" : "read"
  return credentials === undefined
    ? new StageError({ reason: "Denied", message: `${host} wants credentials to ${may} ${repository}.`, remedy: 'Pass credentials: secret("NAME"), whose value is user:password, or credentials: "docker" after docker login.' })
    : new StageError({ reason: "Denied", message: `${host} does not accept these credentials (${credentials}) to ${may} ${repository}.`, remedy: `Check that they are valid there and may ${may} that repository, then \`hyper resume\`.` })
}

export const registryFailure = (sought: Sought, cause: unknown): StageError => {
  const { does, reference: { host, repository } } = sought
  if (cause instanceof StageError) return cause
  if (cause instanceof ContentFault) return new StageError({ reason: "InvalidInput", message: cause.message, remedy: cause.remedy })
  if (cause instanceof DigestFault) {
    return new StageError({ reason: "Corrupt", message: cause.message, remedy: does === "push" ? "No tag was set. Something between here and the registry changes what it passes on: ask who runs it, or push to another one." : "Nothing of it was kept. Run again; if it happens twice, the registry or something before it changes the file." })
  }
  if (!(cause instanceof RegistryFault)) {
    const code = codeOf(cause)
    return DISK.has(code) || LOCAL.has(code) ? local(sought, code) : network((cause as { readonly at?: string } | undefined)?.at ?? host, code)
  }
  const { code, detail, retryAfter, status } = cause
  const told = [code, detail].filter((part) => part !== "").join(": ")
  const said = `${host} ${cause.message}${told === "" ? "" : ` (${told})`} for ${repository}.`
  const after = retryAfter === undefined ? {} : { retryAfter }
  if (fullRegistry(status, detail)) return new StageError({ reason: "OutOfSpace", message: `The registry ${host} has no room left: ${said}`, remedy: "Free or grant space there (unfinished uploads and unused blobs take some), then `hyper resume`: no tag was set, and blobs that arrived are not sent again." })
  if (code === "UNENCRYPTED" || code === "DOWNGRADE") return new StageError({ reason: "Denied", message: `${host} ${cause.message}.`, remedy: "A registry behind a TLS proxy must know its own address: set X-Forwarded-Proto at the proxy, or the registry's http.host." })
  if (status === 401 || status === 403) return refused(sought)
  if (code === "DIGEST_INVALID") return new StageError({ reason: "Corrupt", message: `What arrived at ${host} is not what its digest names: ${said}`, remedy: "No tag was set. Run again; if it happens twice, check this machine's disk and what lies between it and the registry." })
  // an upload that a restarted registry has forgotten, or a blob that was cleaned away before its manifest came
  if (does === "push" && /^(MANIFEST_)?BLOB_(UNKNOWN|UPLOAD_UNKNOWN|UPLOAD_INVALID)$/.test(code)) return new StageError({ reason: "Unavailable", message: `${host} has lost what was sent: ${said}`, remedy: "No tag was set. `hyper resume` sends what is missing." })
  if (status === 413) return new StageError({ reason: "InvalidInput", message: `${host} takes no blob of this size: ${said}`, remedy: "Raise the limit of the proxy before the registry (nginx: client_max_body_size 0)." })
  if (status === 405 || code === "UNSUPPORTED") return new StageError({ reason: "Denied", message: `${host} is a registry that cannot be written to: ${said}`, remedy: "Push to another registry: this one only mirrors, or is set to read-only." })
  if (status === 404 && does === "pull") return new StageError({ reason: "InvalidInput", message: `${host} has no such model: ${said}`, remedy: `Check name and tag${sought.credentials === undefined ? "; if it is private, pass credentials" : ""}.` })
  if (status === 404) return new StageError({ reason: "InvalidInput", message: `${host} has no repository ${repository}, or is no registry: ${said}`, remedy: "Make the repository there first, if that registry wants it made; check host and port." })
  if (status === 429) return new StageError({ reason: "Unavailable", message: `${host} limits how often it answers: ${said}`, ...after })
  if (status >= 500) return new StageError({ reason: "Unavailable", message: said, remedy: "The registry's own log has the reason. No tag was set; blobs that arrived are not sent again.", ...after })
  return new StageError({ reason: status === 0 ? "Unavailable" : "InvalidInput", message: said, remedy: status === 0 ? "Check that host and port are a registry's." : "The registry's own log has the reason." })
}
