/** Who may use the HTTP API: one-time login links, browser sessions, API keys. Secrets are stored as sha-256 only. Times: epoch milliseconds. */
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"

export const api = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE api_login_links (
    token_hash text PRIMARY KEY,
    tenant text NOT NULL,
    by_whom text NOT NULL,
    expires_at bigint NOT NULL,
    used_at bigint
  )`
  yield* sql`CREATE TABLE api_sessions (
    token_hash text PRIMARY KEY,
    tenant text NOT NULL,
    by_whom text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
  )`
  yield* sql`CREATE TABLE api_keys (
    id text PRIMARY KEY,
    key_hash text NOT NULL UNIQUE,
    tenant text NOT NULL,
    name text NOT NULL,
    hint text NOT NULL,
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint,
    revoked_at bigint
  )`
  yield* sql`CREATE INDEX api_keys_tenant ON api_keys (tenant)`
})
