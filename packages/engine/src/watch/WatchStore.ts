/** What SQL remembers of watches. Every statement may be repeated: rows have keys, and what is there stays. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import type { Limits } from "./Policy.ts"
import type { StoredSpec } from "./WatchSpec.ts"

export class WatchStoreError extends Schema.TaggedError<WatchStoreError>()("WatchStoreError", { message: Schema.String }) {}

export type FileState = "planned" | "refused" | "unplannable" | "running" | "succeeded" | "failed" | "cancelled"

export interface WatchedFile {
  readonly watch: string
  readonly commit: string
  readonly file: string
  readonly state: FileState
  readonly runId: string | null
  readonly planDigest: string | null
  readonly message: string | null
  readonly remedy: string | null
  readonly endpoint: string | null
  readonly dollars: number | null
  readonly limits: Limits | null
}

export interface SeenCommit {
  readonly commit: string
  readonly whole: boolean
}

export interface Report {
  readonly id: string
  readonly watch: string
  readonly commit: string
  readonly target: "note" | "status"
  readonly subject: string
  readonly state: string
  readonly payload: unknown
  readonly attempts: number
  readonly spec: StoredSpec
  readonly tenant: string
}

/** The same repository, branch and path have the same id in every home. */
export const watchId = (tenant: string, spec: StoredSpec): string => createHash("sha256").update([tenant, spec.repository, spec.branch, spec.path].join("\0")).digest("hex").slice(0, 16)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const told = <A>(what: string, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, WatchStoreError> =>
    Effect.mapError(effect, (error) => new WatchStoreError({ message: `${what}: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}` }))
  const fileColumns = sql`watch, commit, file, state, run_id AS "runId", plan_digest AS "planDigest", message, remedy, endpoint, dollars, limits`

  return {
    /** Its head: the newest commit that is in `watch_commits`; null before the first look. */
    open: (tenant: string, spec: StoredSpec) =>
      told("opening the watch", Effect.gen(function* () {
        const id = watchId(tenant, spec)
        const now = yield* Clock.currentTimeMillis
        const [row] = yield* sql<{ head: string | null }>`INSERT INTO watches (id, tenant, repository, branch, path, spec, created_at)
          VALUES (${id}, ${tenant}, ${spec.repository}, ${spec.branch}, ${spec.path}, ${JSON.stringify(spec)}::json, ${now}::float8)
          ON CONFLICT (id) DO UPDATE SET spec = excluded.spec RETURNING head`
        return { id, head: row!.head }
      })),
    /** In one transaction: what is seen and what is the head never differ. */
    advance: (id: string, head: string, commits: ReadonlyArray<SeenCommit>) =>
      told("noting commits", sql.withTransaction(Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        for (const { commit, whole } of commits) yield* sql`INSERT INTO watch_commits (watch, commit, whole, seen_at) VALUES (${id}, ${commit}, ${whole}, ${now}::float8) ON CONFLICT DO NOTHING`
        yield* sql`UPDATE watches SET head = ${head} WHERE id = ${id}`
      }))),
    /** Seen and not handled to the end, oldest first. */
    pending: (id: string) => told("reading commits", sql<SeenCommit>`SELECT commit, whole FROM watch_commits WHERE watch = ${id} AND handled_at IS NULL ORDER BY position`),
    handled: (id: string, commit: string) =>
      told("noting a commit", Effect.flatMap(Clock.currentTimeMillis, (now) => sql`UPDATE watch_commits SET handled_at = coalesce(handled_at, ${now}::float8) WHERE watch = ${id} AND commit = ${commit}`)),
    /** Of all watches: what has no end yet, or an end that was not put into the outbox. */
    unsettled: told("reading commits", sql<{ watch: string; commit: string; spec: StoredSpec }>`SELECT c.watch, c.commit, w.spec FROM watch_commits c JOIN watches w ON w.id = c.watch WHERE c.settled_at IS NULL ORDER BY c.position`),
    settled: (id: string, commit: string) =>
      told("noting a commit", Effect.flatMap(Clock.currentTimeMillis, (now) => sql`UPDATE watch_commits SET settled_at = coalesce(settled_at, ${now}::float8) WHERE watch = ${id} AND commit = ${commit}`)),
    isHandled: (id: string, commit: string) => told("reading a commit", Effect.map(sql`SELECT 1 FROM watch_commits WHERE watch = ${id} AND commit = ${commit} AND handled_at IS NOT NULL`, (rows) => rows.length > 0)),
    files: (id: string, commit: string) => told("reading files", sql<WatchedFile>`SELECT ${fileColumns} FROM watch_files WHERE watch = ${id} AND commit = ${commit} ORDER BY file`),
    record: (row: Omit<WatchedFile, "endpoint" | "dollars">) =>
      told("noting a file", Effect.flatMap(Clock.currentTimeMillis, (now) =>
        sql`INSERT INTO watch_files (watch, commit, file, state, run_id, plan_digest, message, remedy, limits, at)
            VALUES (${row.watch}, ${row.commit}, ${row.file}, ${row.state}, ${row.runId}, ${row.planDigest}, ${row.message}, ${row.remedy}, ${row.limits === null ? null : JSON.stringify(row.limits)}::json, ${now}::float8)
            ON CONFLICT DO NOTHING`)),
    end: (row: WatchedFile, outcome: { readonly state: FileState; readonly message: string | null; readonly endpoint: string | null; readonly dollars: number }) =>
      told("noting an end", sql`UPDATE watch_files SET state = ${outcome.state}, message = ${outcome.message}, endpoint = ${outcome.endpoint}, dollars = ${outcome.dollars}::float8
          WHERE watch = ${row.watch} AND commit = ${row.commit} AND file = ${row.file} AND state = 'running'`),
    report: (report: Pick<Report, "watch" | "commit" | "target" | "subject" | "state" | "payload">) =>
      told("noting a report", Effect.flatMap(Clock.currentTimeMillis, (now) =>
        sql`INSERT INTO watch_reports (watch, commit, target, subject, state, payload, next_at)
            VALUES (${report.watch}, ${report.commit}, ${report.target}, ${report.subject}, ${report.state}, ${JSON.stringify(report.payload)}::json, ${now}::float8) ON CONFLICT DO NOTHING`)),
    /** Oldest first; one about the same thing waits until the one before it is out, so that the last word is the last. */
    due: told("reading reports", Effect.flatMap(Clock.currentTimeMillis, (now) =>
      sql<Report>`SELECT r.id::text AS id, r.watch, r.commit, r.target, r.subject, r.state, r.payload, r.attempts, w.spec, w.tenant FROM watch_reports r JOIN watches w ON w.id = r.watch
          WHERE r.done_at IS NULL AND r.next_at <= ${now}::float8
            AND NOT EXISTS (SELECT 1 FROM watch_reports e WHERE e.watch = r.watch AND e.commit = r.commit AND e.target = r.target AND e.subject = r.subject AND e.id < r.id AND e.done_at IS NULL)
          ORDER BY r.id LIMIT 20`)),
    /** Epoch milliseconds; null where nothing waits. */
    nextDue: told("reading reports", Effect.map(sql<{ at: number | null }>`SELECT min(next_at) AS at FROM watch_reports WHERE done_at IS NULL`, ([row]) => row?.at ?? null)),
    openReports: (id: string) => told("reading reports", Effect.map(sql<{ count: number }>`SELECT count(*)::int AS count FROM watch_reports WHERE watch = ${id} AND done_at IS NULL`, ([row]) => row?.count ?? 0)),
    /** Before it is sent: whoever finds attempts > 0 asks the other side first whether it arrived. */
    trying: (id: string) => told("noting a report", sql`UPDATE watch_reports SET attempts = attempts + 1 WHERE id = ${id}::bigint`),
    /** `failure`: what kept it from arriving, for good. */
    done: (id: string, failure: string | null) => told("noting a report", Effect.flatMap(Clock.currentTimeMillis, (now) => sql`UPDATE watch_reports SET done_at = ${now}::float8, failure = ${failure} WHERE id = ${id}::bigint`)),
    postpone: (id: string, at: number, failure: string) => told("noting a report", sql`UPDATE watch_reports SET next_at = ${at}::float8, failure = ${failure} WHERE id = ${id}::bigint`)
  }
})

export class WatchStore extends Context.Service<WatchStore, Effect.Success<typeof make>>()("@hypernode/engine/watch/WatchStore") {
  static readonly layer: Layer.Layer<WatchStore, never, SqlClient> = Layer.effect(WatchStore, make)
}
