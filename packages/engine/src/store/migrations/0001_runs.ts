/**
 * The event log, the step cache, and who this is: the tenant on every run, and the installation's node identity.
 *
 * Instants are epoch milliseconds in `double precision` (exact up to 2^53); JSON is stored as `json`, the text as it was written.
 * Samples are signed over their canonical encoding; `canonical_encoding` names it, so that a later one can be told apart.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const runs = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE tenants (id text PRIMARY KEY, created_at double precision NOT NULL)`
  yield* sql`INSERT INTO tenants VALUES ('local', (extract(epoch FROM now()) * 1000)::bigint)`
  yield* sql`CREATE TABLE node_identities (
    id text PRIMARY KEY,
    public_key text NOT NULL UNIQUE,
    name text NOT NULL,
    transport text NOT NULL,
    tenant text NOT NULL REFERENCES tenants,
    canonical_encoding text NOT NULL DEFAULT 'hyper-canonical-json-1',
    created_at double precision NOT NULL
  )`
  yield* sql`CREATE TABLE runs (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    pipeline text NOT NULL,
    created_at double precision NOT NULL,
    ended boolean NOT NULL DEFAULT false,
    last_seq integer NOT NULL
  )`
  yield* sql`CREATE INDEX runs_of_tenant ON runs (tenant, created_at DESC, id)`
  yield* sql`CREATE INDEX runs_unfinished ON runs (created_at) WHERE NOT ended`
  yield* sql`CREATE TABLE run_events (
    run_id text NOT NULL REFERENCES runs,
    seq integer NOT NULL,
    at double precision NOT NULL,
    once text,
    event json NOT NULL,
    PRIMARY KEY (run_id, seq)
  )`
  yield* sql`CREATE UNIQUE INDEX run_events_once ON run_events (run_id, once) WHERE once IS NOT NULL`
  yield* sql`CREATE TABLE step_cache (
    tenant text NOT NULL,
    cache_key text NOT NULL,
    output json NOT NULL,
    run_id text NOT NULL,
    created_at double precision NOT NULL,
    PRIMARY KEY (tenant, cache_key)
  )`
})
