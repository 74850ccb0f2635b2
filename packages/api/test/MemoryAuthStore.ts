/** AuthStore in memory, for tests; passes the same suite as the SQL one. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AuthStore, LINK_MILLIS, SESSION_MILLIS } from "../src/auth/AuthStore.ts"
import { hashToken, newToken } from "../src/auth/tokens.ts"
import type { KeyView } from "../src/contract/Access.ts"
import type { Scope } from "../src/contract/Caller.ts"

const all: ReadonlyArray<Scope> = ["read", "write", "admin"]

export const MemoryAuthStore = Layer.sync(AuthStore, () => {
  const links = new Map<string, { tenant: string; by: string; expiresAt: number; used: boolean }>()
  const sessions = new Map<string, { tenant: string; by: string; expiresAt: number }>()
  const keys = new Map<string, KeyView & { tenant: string; hash: string; revoked: boolean }>()
  return AuthStore.of({
    createLink: (tenant, by) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const token = newToken("hyl")
        links.set(hashToken(token), { tenant, by, expiresAt: now + LINK_MILLIS, used: false })
        return { token, expiresAt: now + LINK_MILLIS }
      }),
    redeem: (linkToken) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const link = links.get(hashToken(linkToken))
        if (link === undefined || link.used || link.expiresAt <= now) return undefined
        link.used = true
        const token = newToken("hys")
        sessions.set(hashToken(token), { tenant: link.tenant, by: link.by, expiresAt: now + SESSION_MILLIS })
        return { token, expiresAt: now + SESSION_MILLIS }
      }),
    session: (token) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const session = sessions.get(hashToken(token))
        return session === undefined || session.expiresAt <= now ? undefined : { tenant: session.tenant, by: session.by, scopes: all }
      }),
    endSession: (token) => Effect.sync(() => void sessions.delete(hashToken(token))),
    createKey: (tenant, name, scopes) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const key = newToken("hyk")
        const view = { id: `key_${keys.size + 1}`, name, hint: key.slice(0, 9), scopes: all.filter((scope) => scopes.includes(scope)), createdAt: now, lastUsedAt: null }
        keys.set(view.id, { ...view, tenant, hash: hashToken(key), revoked: false })
        return { ...view, key }
      }),
    keys: (tenant) =>
      Effect.sync(() => [...keys.values()].filter((key) => key.tenant === tenant && !key.revoked).map(({ hash: _h, revoked: _r, tenant: _t, ...view }) => view)),
    revokeKey: (tenant, id) =>
      Effect.sync(() => {
        const key = keys.get(id)
        if (key === undefined || key.tenant !== tenant || key.revoked) return false
        key.revoked = true
        return true
      }),
    key: (value) =>
      Effect.sync(() => {
        const key = [...keys.values()].find((one) => one.hash === hashToken(value) && !one.revoked)
        return key === undefined ? undefined : { tenant: key.tenant, by: `key ${key.name}`, scopes: key.scopes }
      })
  })
})
