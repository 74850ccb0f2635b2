/**
 * Who may pass, before any handler. Two modes, chosen by the listener and never by a header: `owner` (the home's Unix socket, in a
 * directory of mode 0700) and `login` (TCP: session cookie or API key). In `login` mode the Host must be ours (DNS rebinding) and an
 * unsafe request that rides on a cookie must come from our own page (CSRF).
 */
import * as Effect from "effect/Effect"
import type { Context } from "hono"
import { getCookie } from "hono/cookie"
import { AuthStore } from "../auth/AuthStore.ts"
import type { RateLimit } from "../auth/RateLimit.ts"
import { isToken } from "../auth/tokens.ts"
import type { CallerInfo, Scope } from "../contract/Caller.ts"
import { problemBody, problemResponse } from "./problem.ts"

export type Access =
  | { readonly mode: "owner"; readonly tenant: string; readonly by: string }
  | {
      readonly mode: "login"
      /** host names besides loopback under which this server may be asked, without port */
      readonly hosts: ReadonlyArray<string>
      /** behind a TLS proxy: cookies are marked Secure */
      readonly secure: boolean
    }

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"])
const ownerScopes: ReadonlyArray<Scope> = ["read", "write", "admin"]

const hostOf = (c: Context): URL | undefined => {
  const host = c.req.header("host") ?? ""
  try {
    return /^[\w.:[\]-]+$/.test(host) ? new URL(`http://${host}`) : undefined
  } catch {
    return undefined
  }
}

/** Cookies are shared between ports of one host, so two homes on one machine need two names. */
export const cookieName = (c: Context): string => `hyper_session_${hostOf(c)?.port || "80"}`

export const hostProblem = (c: Context, access: Access, requestId: string): Response | undefined => {
  if (access.mode === "owner") return undefined
  const name = hostOf(c)?.hostname.toLowerCase()
  if (name !== undefined && (LOOPBACK.has(name) || access.hosts.some((host) => host.toLowerCase() === name))) return undefined
  return problemResponse(421, problemBody(requestId, "host_unknown", "This server does not answer under that host name", "Use http://127.0.0.1 with its port, or start it with --host-name"))
}

const safe = (method: string): boolean => method === "GET" || method === "HEAD"

/** True where the request can only come from a page of this very origin. Browsers send Origin with every unsafe request. */
export const fromOwnPage = (c: Context): boolean => {
  const origin = c.req.header("origin")
  if (origin === undefined) return c.req.header("sec-fetch-site") === "same-origin"
  try {
    return new URL(origin).host === c.req.header("host")
  } catch {
    return false
  }
}

const loginRemedy = "Open a link from `hyper serve --login`, or send an API key as a bearer token"

/** The caller, or the answer that says why not. */
export const identify = Effect.fnUntraced(function*(c: Context, access: Access, requestId: string, limit: RateLimit) {
  if (access.mode === "owner") return { tenant: access.tenant, by: access.by, scopes: ownerScopes, owner: true, requestId } satisfies CallerInfo
  const store = yield* AuthStore
  const authorization = c.req.header("authorization")
  if (authorization !== undefined) {
    const key = /^Bearer ([\w-]+)$/.exec(authorization)?.[1] ?? ""
    const wait = limit.wait("key")
    const identity = isToken("hyk", key) ? yield* store.key(key) : undefined
    // A right key is never kept waiting by somebody else's wrong ones.
    if (identity !== undefined) return { ...identity, owner: false, requestId } satisfies CallerInfo
    limit.wrong("key")
    if (wait > 0) return problemResponse(429, problemBody(requestId, "too_many_attempts", `Too many wrong keys; wait ${wait} s`), { "retry-after": String(wait) })
    return problemResponse(401, problemBody(requestId, "key_unknown", "This API key is unknown or revoked", "Make another: hyper serve --key NAME"), { "www-authenticate": "Bearer" })
  }
  const token = getCookie(c, cookieName(c)) ?? ""
  const identity = isToken("hys", token) ? yield* store.session(token) : undefined
  if (identity === undefined) return problemResponse(401, problemBody(requestId, "login_needed", "Log in first", loginRemedy), { "www-authenticate": "Bearer" })
  if (!safe(c.req.method) && !fromOwnPage(c)) {
    return problemResponse(403, problemBody(requestId, "cross_site", "This request comes from another site; nothing was done", "Scripts send an API key as a bearer token instead of a cookie"))
  }
  return { ...identity, owner: false, requestId } satisfies CallerInfo
})
