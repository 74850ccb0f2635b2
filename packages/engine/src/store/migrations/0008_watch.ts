/**
 * What `hyper watch` has seen of repositories elsewhere, what became of each pipeline file of each commit, and what is still to be
 * reported. One row a (watch, commit) and a (watch, commit, file): a commit is handled once, whatever is restarted. Times: epoch milliseconds.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const watch = Effect.gen(function* () {
  const sql = yield* SqlClient
  // spec: how to reach the repository and its forge; secrets by name only
  yield* sql`CREATE TABLE watches (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    repository text NOT NULL,
    branch text NOT NULL,
    path text NOT NULL,
    spec json NOT NULL,
    head text,
    created_at double precision NOT NULL,
    UNIQUE (tenant, repository, branch, path)
  )`
  // whole: the first commit seen, of which every pipeline file counts as added
  // handled: each of its files has a row; settled: each has ended, and its reports are in the outbox
  yield* sql`CREATE TABLE watch_commits (
    watch text NOT NULL REFERENCES watches,
    commit text NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    whole boolean NOT NULL,
    seen_at double precision NOT NULL,
    handled_at double precision,
    settled_at double precision,
    PRIMARY KEY (watch, commit)
  )`
  yield* sql`CREATE INDEX watch_commits_open ON watch_commits (watch, position) WHERE settled_at IS NULL`
  yield* sql`CREATE TABLE watch_files (
    watch text NOT NULL,
    commit text NOT NULL,
    file text NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'refused', 'unplannable', 'running', 'succeeded', 'failed', 'cancelled')),
    run_id text,
    plan_digest text,
    message text,
    remedy text,
    endpoint text,
    dollars double precision,
    limits json,
    at double precision NOT NULL,
    PRIMARY KEY (watch, commit, file),
    UNIQUE (watch, run_id),
    FOREIGN KEY (watch, commit) REFERENCES watch_commits
  )`
  yield* sql`CREATE INDEX watch_files_running ON watch_files (watch) WHERE state = 'running'`
  yield* sql`CREATE TABLE watch_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    watch text NOT NULL,
    commit text NOT NULL,
    target text NOT NULL CHECK (target IN ('note', 'status')),
    subject text NOT NULL,
    state text NOT NULL,
    payload json NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at double precision NOT NULL,
    done_at double precision,
    failure text,
    UNIQUE (watch, commit, target, subject, state),
    FOREIGN KEY (watch, commit) REFERENCES watch_commits
  )`
  yield* sql`CREATE INDEX watch_reports_open ON watch_reports (next_at) WHERE done_at IS NULL`
})
