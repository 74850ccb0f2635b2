/** What the embedded executor must not forget: which workflows run, their finished steps, what they wait for, and who may write. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const durable = Effect.gen(function* () {
  const sql = yield* SqlClient
  // one row per daemon that ever owned this database; the highest epoch is the owner's
  yield* sql`CREATE TABLE daemon_epochs (
    epoch integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pid integer NOT NULL,
    host text NOT NULL,
    process text NOT NULL,
    started_at double precision NOT NULL
  )`
  yield* sql`CREATE TABLE durable_runs (
    id text PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('running', 'ended', 'failed', 'cancelled')),
    epoch integer NOT NULL,
    error text,
    -- failures of the function outside its steps
    attempt integer NOT NULL DEFAULT 0,
    retry_at double precision,
    created_at double precision NOT NULL,
    ended_at double precision
  )`
  yield* sql`CREATE INDEX durable_runs_running ON durable_runs (id) WHERE status = 'running'`
  // no foreign key: every insert locks the run's row itself, to see that it still runs and still is this daemon's
  yield* sql`CREATE TABLE durable_steps (
    run_id text NOT NULL,
    hash text NOT NULL,
    position integer GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CHECK (kind IN ('data', 'error')),
    payload text NOT NULL,
    PRIMARY KEY (run_id, hash)
  )`
  // a step that is to be tried again, a sleep, or a wait for an event: everything with an hour on which it goes on
  yield* sql`CREATE TABLE durable_waits (
    run_id text NOT NULL REFERENCES durable_runs,
    hash text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('retry', 'sleep', 'event')),
    at double precision NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    event text,
    match text,
    PRIMARY KEY (run_id, hash)
  )`
})
