/**
 * Signed telemetry: what was accepted, exactly once by (job, node, sequence), how far each job's file was read, and what was refused.
 * `batch` is `json`, not `jsonb`: signatures are over canonical text, and numbers must come back as they were written.
 * Batches and samples are append-only: the database refuses anything else.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const telemetry = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE telemetry_batches (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    run_id text NOT NULL,
    step_id text NOT NULL,
    job text NOT NULL,
    node text NOT NULL,
    sequence integer NOT NULL CHECK (sequence >= 0),
    digest text NOT NULL,
    batch json NOT NULL,
    received_at double precision NOT NULL,
    PRIMARY KEY (job, node, sequence)
  )`
  yield* sql`CREATE INDEX telemetry_batches_of_run ON telemetry_batches (run_id, id)`
  yield* sql`CREATE TABLE telemetry_samples (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    step_id text NOT NULL,
    node text NOT NULL,
    batch bigint NOT NULL REFERENCES telemetry_batches (id),
    sample json NOT NULL
  )`
  yield* sql`CREATE INDEX telemetry_samples_of_run ON telemetry_samples (run_id, id)`
  yield* sql`CREATE INDEX telemetry_samples_of_step ON telemetry_samples (run_id, step_id, id)`
  yield* sql`CREATE TABLE telemetry_files (
    run_id text NOT NULL,
    step_id text NOT NULL,
    directory text NOT NULL,
    read_to double precision NOT NULL CHECK (read_to >= 0),
    PRIMARY KEY (run_id, step_id, directory)
  )`
  yield* sql`CREATE TABLE telemetry_refusals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    step_id text NOT NULL,
    directory text NOT NULL,
    read_at double precision NOT NULL,
    node text,
    reason text NOT NULL,
    message text NOT NULL,
    remedy text NOT NULL,
    samples integer NOT NULL,
    at double precision NOT NULL,
    UNIQUE (run_id, step_id, directory, read_at)
  )`
  yield* sql`CREATE FUNCTION hyper_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
    END $$`
  for (const table of ["telemetry_batches", "telemetry_samples"]) {
    yield* sql`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ${sql(table)} FOR EACH ROW EXECUTE FUNCTION hyper_append_only()`
    yield* sql`CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ${sql(table)} FOR EACH STATEMENT EXECUTE FUNCTION hyper_append_only()`
  }
})
