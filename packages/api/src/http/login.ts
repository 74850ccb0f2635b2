/** `POST /api/v1/login {token}`: the one-time token from the link's fragment becomes a session cookie. `POST /api/v1/logout` ends it. */
import * as Effect from "effect/Effect"
import type { Context } from "hono"
import { deleteCookie, getCookie, setCookie } from "hono/cookie"
import { AuthStore, SESSION_MILLIS } from "../auth/AuthStore.ts"
import type { RateLimit } from "../auth/RateLimit.ts"
import { isToken } from "../auth/tokens.ts"
import { type Access, cookieName, fromOwnPage } from "./access.ts"
import { problemBody, problemResponse } from "./problem.ts"

const attributes = (access: Access) => ({ httpOnly: true, sameSite: "Strict" as const, path: "/", secure: access.mode === "login" && access.secure })

export const login = Effect.fnUntraced(function*(c: Context, access: Access, requestId: string, limit: RateLimit) {
  if (c.req.header("origin") !== undefined && !fromOwnPage(c)) {
    return problemResponse(403, problemBody(requestId, "cross_site", "This request comes from another site; nothing was done"))
  }
  const wait = limit.wait("login")
  if (wait > 0) {
    return problemResponse(429, problemBody(requestId, "too_many_attempts", `Too many attempts to log in; wait ${wait} s`), { "retry-after": String(wait) })
  }
  const body: unknown = yield* Effect.promise(() => c.req.json().catch(() => null))
  const token = typeof body === "object" && body !== null && "token" in body && typeof body.token === "string" ? body.token : ""
  const store = yield* AuthStore
  const session = isToken("hyl", token) ? yield* store.redeem(token) : undefined
  if (session === undefined) {
    limit.wrong("login")
    return problemResponse(401, problemBody(requestId, "link_spent", "This link has been used or has expired", "Print another with: hyper serve --login"))
  }
  setCookie(c, cookieName(c), session.token, { ...attributes(access), maxAge: Math.floor(SESSION_MILLIS / 1000) })
  return c.json({ expiresAt: session.expiresAt })
})

export const logout = Effect.fnUntraced(function*(c: Context, access: Access) {
  const token = getCookie(c, cookieName(c))
  const store = yield* AuthStore
  if (token !== undefined) yield* store.endSession(token)
  deleteCookie(c, cookieName(c), attributes(access))
  return c.json({})
})
