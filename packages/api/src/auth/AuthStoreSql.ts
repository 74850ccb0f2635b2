/** AuthStore over the tables of migration 0007. */
import { randomBytes } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { KeyView } from "../contract/Access.ts"
import type { Scope } from "../contract/Caller.ts"
import { AuthStore, AuthStoreError, LINK_MILLIS, SESSION_MILLIS } from "./AuthStore.ts"
import { hashToken, newToken } from "./tokens.ts"

const allScopes: ReadonlyArray<Scope> = ["read", "write", "admin"]

interface KeyRow {
  readonly id: string
  readonly tenant: string
  readonly name: string
  readonly hint: string
  readonly scopes: string
  readonly created_at: string | number | bigint
  readonly last_used_at: string | number | bigint | null
}

const keyView = (row: KeyRow): KeyView => ({
  id: row.id,
  name: row.name,
  hint: row.hint,
  scopes: row.scopes.split(" ") as Array<Scope>,
  createdAt: Number(row.created_at),
  lastUsedAt: row.last_used_at === null ? null : Number(row.last_used_at)
})

const orStoreError = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, AuthStoreError> =>
  Effect.mapError(effect, (error) => new AuthStoreError({ message: `the login tables cannot be used: ${error.message}` }))

export const AuthStoreSql: Layer.Layer<AuthStore, never, SqlClient.SqlClient> = Layer.effect(
  AuthStore,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    return AuthStore.of({
      createLink: Effect.fn("AuthStore.createLink")(function*(tenant: string, by: string) {
        const now = yield* Clock.currentTimeMillis
        const token = newToken("hyl")
        const expiresAt = now + LINK_MILLIS
        yield* orStoreError(sql`DELETE FROM api_login_links WHERE expires_at < ${now - LINK_MILLIS}`)
        yield* orStoreError(sql`INSERT INTO api_login_links (token_hash, tenant, by_whom, expires_at) VALUES (${hashToken(token)}, ${tenant}, ${by}, ${expiresAt})`)
        return { token, expiresAt }
      }),
      redeem: Effect.fn("AuthStore.redeem")(function*(linkToken: string) {
        const now = yield* Clock.currentTimeMillis
        const links = yield* orStoreError(
          sql<{ readonly tenant: string; readonly by_whom: string }>`UPDATE api_login_links SET used_at = ${now} WHERE token_hash = ${hashToken(linkToken)} AND used_at IS NULL AND expires_at > ${now} RETURNING tenant, by_whom`
        )
        const link = links[0]
        if (link === undefined) return undefined
        const token = newToken("hys")
        const expiresAt = now + SESSION_MILLIS
        yield* orStoreError(sql`DELETE FROM api_sessions WHERE expires_at < ${now}`)
        yield* orStoreError(
          sql`INSERT INTO api_sessions (token_hash, tenant, by_whom, created_at, expires_at) VALUES (${hashToken(token)}, ${link.tenant}, ${link.by_whom}, ${now}, ${expiresAt})`
        )
        return { token, expiresAt }
      }),
      session: Effect.fn("AuthStore.session")(function*(token: string) {
        const now = yield* Clock.currentTimeMillis
        const rows = yield* orStoreError(
          sql<{ readonly tenant: string; readonly by_whom: string }>`SELECT tenant, by_whom FROM api_sessions WHERE token_hash = ${hashToken(token)} AND expires_at > ${now}`
        )
        const row = rows[0]
        return row === undefined ? undefined : { tenant: row.tenant, by: row.by_whom, scopes: allScopes }
      }),
      endSession: (token) => Effect.asVoid(orStoreError(sql`DELETE FROM api_sessions WHERE token_hash = ${hashToken(token)}`)),
      createKey: Effect.fn("AuthStore.createKey")(function*(tenant: string, name: string, scopes: ReadonlyArray<Scope>) {
        const now = yield* Clock.currentTimeMillis
        const key = newToken("hyk")
        const view = { id: `key_${randomBytes(8).toString("hex")}`, name, hint: key.slice(0, 9), scopes: allScopes.filter((scope) => scopes.includes(scope)), createdAt: now, lastUsedAt: null }
        yield* orStoreError(
          sql`INSERT INTO api_keys (id, key_hash, tenant, name, hint, scopes, created_at) VALUES (${view.id}, ${hashToken(key)}, ${tenant}, ${name}, ${view.hint}, ${view.scopes.join(" ")}, ${now})`
        )
        return { ...view, key }
      }),
      keys: (tenant) =>
        orStoreError(sql<KeyRow>`SELECT id, tenant, name, hint, scopes, created_at, last_used_at FROM api_keys WHERE tenant = ${tenant} AND revoked_at IS NULL ORDER BY created_at`).pipe(
          Effect.map((rows) => rows.map(keyView))
        ),
      revokeKey: Effect.fn("AuthStore.revokeKey")(function*(tenant: string, id: string) {
        const now = yield* Clock.currentTimeMillis
        const rows = yield* orStoreError(sql`UPDATE api_keys SET revoked_at = ${now} WHERE tenant = ${tenant} AND id = ${id} AND revoked_at IS NULL RETURNING id`)
        return rows.length > 0
      }),
      key: Effect.fn("AuthStore.key")(function*(key: string) {
        const now = yield* Clock.currentTimeMillis
        const rows = yield* orStoreError(
          sql<KeyRow>`SELECT id, tenant, name, hint, scopes, created_at, last_used_at FROM api_keys WHERE key_hash = ${hashToken(key)} AND revoked_at IS NULL`
        )
        const row = rows[0]
        if (row === undefined) return undefined
        // Once a minute is enough to see which keys are in use, and keeps a read from being a write.
        if (row.last_used_at === null || Number(row.last_used_at) < now - 60_000) {
          yield* orStoreError(sql`UPDATE api_keys SET last_used_at = ${now} WHERE id = ${row.id}`)
        }
        const view = keyView(row)
        return { tenant: row.tenant, by: `key ${view.name}`, scopes: view.scopes }
      })
    })
  })
)
