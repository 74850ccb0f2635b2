/**
 * `host[:port]/repository[:tag][@digest]`: where a registry keeps an artifact. Grammar of names and tags: opencontainers/distribution-spec
 * 1.1, "Pulling manifests". The host is always written out; only docker.io is known under another name to its own API.
 */
export interface Reference {
  /** as written, with its port */
  readonly host: string
  readonly repository: string
  readonly tag?: string
  /** `sha256:<hex>` */
  readonly digest?: string
}

const HOST = /^(?:\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::\d{1,5})?$/i
const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`)
export const TAG = /^\w[\w.-]{0,127}$/
export const DIGEST = /^sha256:[0-9a-f]{64}$/

/** A string says what is wrong, without repeating what was given: it may hold a password. */
export const parseReference = (text: string): Reference | string => {
  if (text.includes("://")) return "names a registry without https:// or http:// before it"
  const slash = text.indexOf("/")
  const host = text.slice(0, Math.max(slash, 0))
  if (/^[^/]*@/.test(text)) return "holds no user or password: pass credentials: secret(\"NAME\")"
  if (slash < 0 || !(host.includes(".") || host.includes(":") || host === "localhost")) return "begins with a registry's host, as registry.example.com/team/model does"
  if (!HOST.test(host)) return "begins with a registry's host, which has letters, digits, dots and maybe a :port"
  const [named = "", digest, ...more] = text.slice(slash + 1).split("@")
  const [repository = "", tag, ...tags] = named.split(":")
  if (more.length > 0 || tags.length > 0) return "has one tag or digest at most: host/repository:tag or host/repository@sha256:<hex>"
  if (!REPOSITORY.test(repository) || host.length + repository.length > 254) return "names a repository: lower-case letters and digits, with . _ - between them and / between parts"
  if (tag !== undefined && !TAG.test(tag)) return "has a tag of letters, digits, _ . -; at most 128"
  if (digest !== undefined && !DIGEST.test(digest)) return "has a digest of the form sha256:<64 hexadecimal digits>"
  return { host: host.toLowerCase(), repository: host === "docker.io" && !repository.includes("/") ? `library/${repository}` : repository, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) }
}

/** For text that the options' schema has let through. */
export const referenceOf = (text: string): Reference => {
  const reference = parseReference(text)
  if (typeof reference === "string") throw new Error(`a registry reference ${reference}`)
  return reference
}

export const isLoopback = (host: string): boolean => /^(localhost|\[::1\]|127(\.\d{1,3}){3})(:\d+)?$/i.test(host)

/** Of the registry's API, without a slash at the end. Plain http only on this machine, or where `insecure` says so. */
export const originOf = (host: string, insecure: boolean | undefined): string =>
  `${insecure ?? isLoopback(host) ? "http" : "https"}://${host === "docker.io" ? "registry-1.docker.io" : host}`
