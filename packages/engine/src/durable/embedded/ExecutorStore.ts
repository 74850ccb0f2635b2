/**
 * What the embedded executor writes down. Every write names the daemon's epoch: one that was replaced, or a workflow that was
 * cancelled meanwhile, changes nothing, and the caller learns it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { FinishedStep } from "./Protocol.ts"
import type { Match } from "../match.ts"

/** Something with an hour: a try to come, a sleep, the end of a wait for an event. */
export interface StoredWait {
  readonly hash: string
  readonly kind: "retry" | "sleep" | "event"
  /** epoch milliseconds */
  readonly at: number
  readonly attempt: number
  readonly event: string
  readonly match: Match
}

export interface StoredRun {
  /** failures of the function outside its steps, and when it may be entered again */
  readonly attempt: number
  readonly retryAt: number
  readonly finished: ReadonlyArray<FinishedStep>
  readonly waits: ReadonlyArray<StoredWait>
}

export interface StepWrite {
  readonly runId: string
  readonly step: FinishedStep
}

export type EndStatus = "ended" | "failed" | "cancelled"

export interface ExecutorStore {
  /** `new` has nothing to load; `known` was not over and is ours now. */
  readonly begin: (runId: string) => Effect.Effect<"new" | "known" | "over", SqlError>
  /** Takes over everything that is not over. */
  readonly adopt: Effect.Effect<ReadonlyArray<string>, SqlError>
  /** Undefined where the run is over, or is another daemon's. */
  readonly load: (runId: string) => Effect.Effect<StoredRun | undefined, SqlError>
  /** In one statement, so in one flush of the disk. For each write, whether it was taken: not when the run is over, not ours any more, or has another result for that step. */
  readonly finish: (writes: ReadonlyArray<StepWrite>) => Effect.Effect<ReadonlyArray<boolean>, SqlError>
  readonly wait: (runId: string, wait: StoredWait) => Effect.Effect<void, SqlError>
  readonly failed: (runId: string, attempt: number, retryAt: number) => Effect.Effect<void, SqlError>
  readonly end: (runId: string, status: EndStatus, error?: string) => Effect.Effect<void, SqlError>
  readonly isOver: (runId: string) => Effect.Effect<boolean | undefined, SqlError>
}

/** Kept for looking into; the event log is what is shown. */
const keepMillis = 7 * 86_400_000

// The run's row is locked, not only read: a take-over or a cancellation comes wholly before or wholly after. As constant text, because
// these are the statements that every step pays for. A write whose answer was lost comes again, and is taken again: the same result.
const again = `ON CONFLICT (run_id, hash) DO UPDATE SET kind = excluded.kind WHERE durable_steps.kind = excluded.kind AND durable_steps.payload = excluded.payload`

const finishOne = `INSERT INTO durable_steps (run_id, hash, kind, payload)
  SELECT id, $2, $3, $4 FROM durable_runs WHERE id = $1 AND status = 'running' AND epoch = $5 FOR SHARE
  ${again} RETURNING 1 AS taken`

const finishMany = `WITH given AS (
    SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS s(run_id, hash, kind, payload, place)
    JOIN durable_runs r ON r.id = s.run_id WHERE r.status = 'running' AND r.epoch = $5 ORDER BY s.run_id, s.place FOR SHARE OF r
  ), added AS (
    INSERT INTO durable_steps (run_id, hash, kind, payload) SELECT run_id, hash, kind, payload FROM given ORDER BY place ${again} RETURNING run_id, hash
  ) SELECT given.place::int AS place FROM given JOIN added USING (run_id, hash)`

export const makeExecutorStore = (sql: SqlClient, epoch: number): ExecutorStore => ({
  begin: (runId) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      // xmax is 0 on a row that this statement inserted
      const [row] = yield* sql<{ status: string; fresh: boolean }>`INSERT INTO durable_runs (id, status, epoch, created_at) VALUES (${runId}, 'running', ${epoch}, ${now}::float8)
        ON CONFLICT (id) DO UPDATE SET epoch = CASE WHEN durable_runs.status = 'running' THEN greatest(excluded.epoch, durable_runs.epoch) ELSE durable_runs.epoch END RETURNING status, xmax = 0 AS fresh`
      return row?.fresh === true ? "new" : row?.status === "running" ? "known" : "over"
    }),

  adopt: Effect.gen(function* () {
    const old = (yield* Clock.currentTimeMillis) - keepMillis
    yield* sql`DELETE FROM durable_steps s USING durable_runs r WHERE r.id = s.run_id AND r.status <> 'running' AND r.ended_at < ${old}::float8`
    const rows = yield* sql<{ id: string }>`UPDATE durable_runs SET epoch = ${epoch} WHERE status = 'running' AND epoch <= ${epoch} RETURNING id`
    return rows.map((row) => row.id)
  }),

  load: (runId) =>
    Effect.gen(function* () {
      const [run] = yield* sql<{ attempt: number; retryAt: number | null }>`SELECT attempt, retry_at AS "retryAt" FROM durable_runs WHERE id = ${runId} AND status = 'running' AND epoch = ${epoch}`
      if (run === undefined) return undefined
      const finished = yield* sql<FinishedStep>`SELECT hash, kind, payload AS json FROM durable_steps WHERE run_id = ${runId} ORDER BY position`
      const waits = yield* sql<Omit<StoredWait, "match" | "event"> & { readonly match: string | null; readonly event: string | null }>`SELECT hash, kind, at, attempt, event, match FROM durable_waits WHERE run_id = ${runId}`
      const done = new Set(finished.map((step) => step.hash))
      return {
        attempt: run.attempt,
        retryAt: run.retryAt ?? 0,
        finished,
        // a step's row and its wait's are not written together: the step wins
        waits: waits.filter((wait) => !done.has(wait.hash)).map((wait) => ({ ...wait, event: wait.event ?? "", match: JSON.parse(wait.match ?? "{}") as Match }))
      }
    }),

  finish: (writes) => {
    const [only] = writes
    if (only !== undefined && writes.length === 1) {
      return Effect.map(sql.unsafe(finishOne, [only.runId, only.step.hash, only.step.kind, only.step.json, epoch]), (rows) => [rows.length === 1])
    }
    const column = (pick: (write: StepWrite) => string) => writes.map(pick)
    return Effect.map(
      sql.unsafe<{ place: number }>(finishMany, [column((w) => w.runId), column((w) => w.step.hash), column((w) => w.step.kind), column((w) => w.step.json), epoch]),
      (rows) => {
        const taken = new Set(rows.map((row) => row.place - 1))
        return writes.map((_, place) => taken.has(place))
      }
    )
  },

  wait: (runId, { at, attempt, event, hash, kind, match }) =>
    Effect.asVoid(sql`INSERT INTO durable_waits (run_id, hash, kind, at, attempt, event, match)
      SELECT id, ${hash}, ${kind}, ${at}::float8, ${attempt}, ${event}, ${JSON.stringify(match)} FROM durable_runs WHERE id = ${runId} AND status = 'running' AND epoch = ${epoch}
      ON CONFLICT (run_id, hash) DO UPDATE SET kind = excluded.kind, at = excluded.at, attempt = excluded.attempt`),

  failed: (runId, attempt, retryAt) => Effect.asVoid(sql`UPDATE durable_runs SET attempt = ${attempt}, retry_at = ${retryAt}::float8 WHERE id = ${runId} AND status = 'running' AND epoch = ${epoch}`),

  end: (runId, status, error) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      yield* sql`WITH over AS (
          UPDATE durable_runs SET status = ${status}, error = ${error ?? null}, ended_at = ${now}::float8 WHERE id = ${runId} AND status = 'running' AND epoch = ${epoch} RETURNING id
        ) DELETE FROM durable_waits USING over WHERE run_id = over.id`
    }),

  isOver: (runId) => Effect.map(sql<{ status: string }>`SELECT status FROM durable_runs WHERE id = ${runId}`, ([row]) => (row === undefined ? undefined : row.status !== "running"))
})
