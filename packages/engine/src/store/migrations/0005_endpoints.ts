/** What is served, under which hashed keys and quotas, and what was used of it. Plain keys are in the keyring only. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const endpoints = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE endpoints (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    run_id text NOT NULL,
    model text NOT NULL,
    packaged text NOT NULL,
    upstream text NOT NULL,
    upstream_model text NOT NULL,
    job text NOT NULL,
    key_id text NOT NULL,
    key_hint text NOT NULL,
    key_hash text NOT NULL UNIQUE,
    requests_per_minute integer,
    tokens_per_day integer,
    state text NOT NULL CHECK (state IN ('starting', 'healthy', 'unhealthy', 'stopped')),
    last_completion_at double precision,
    created_at double precision NOT NULL
  )`
  yield* sql`CREATE INDEX endpoints_tenant ON endpoints (tenant, created_at)`
  // one row: the last snapshot version given out; its lock is what serialises writers
  yield* sql`CREATE TABLE gateway_snapshot (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton), version double precision NOT NULL)`
  yield* sql`INSERT INTO gateway_snapshot (version) VALUES (0)`
  yield* sql`CREATE TABLE gateway_usage (
    gateway text NOT NULL,
    sequence double precision NOT NULL,
    at double precision NOT NULL,
    endpoint text NOT NULL,
    tenant text NOT NULL,
    key_hint text NOT NULL,
    operation text NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    estimated boolean NOT NULL,
    milliseconds double precision NOT NULL,
    status integer NOT NULL,
    PRIMARY KEY (gateway, sequence)
  )`
  yield* sql`CREATE INDEX gateway_usage_endpoint ON gateway_usage (tenant, endpoint, at)`
})
