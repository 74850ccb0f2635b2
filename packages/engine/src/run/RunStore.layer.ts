/**
 * The event log in SQL. One statement appends an event: it takes the run's row (so that `seq` has no gaps whoever else appends),
 * counts up and inserts. Followers are woken at once by appends of this process; appends of other processes are found by one shared
 * query that runs only while somebody follows. (Not NOTIFY: PostgreSQL holds one lock per database over the commit of every
 * notifying transaction, and concurrent runs would wait for each other's disk flush.)
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { RunEvent, type StoredEvent } from "./RunEvent.ts"
import { RunNotFound, RunStore, RunStoreError } from "./RunStore.ts"

interface EventRow {
  readonly seq: number
  readonly at: number
  readonly event: string
}

const codec = Schema.fromJsonString(Schema.toCodecJson(RunEvent))
const decode = Schema.decodeUnknownEffect(codec)
const encode = Schema.encodeEffect(codec)

const pollMillis = 200
const pageSize = 1000

const storeError = (what: string) => (cause: unknown) => {
  const reason = cause instanceof SqlError ? cause.reason : undefined
  const words = reason?.cause instanceof Error ? reason.cause.message : cause instanceof Error ? cause.message : String(cause)
  return new RunStoreError({ message: `${what}: ${words}` })
}

const notFound = (runId: string) => new RunNotFound({ runId, message: `there is no run ${runId}; \`hyper runs\` lists them` })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const followers = new Map<string, Set<Queue.Queue<void>>>()
  const lastSeen = new Map<string, number>()

  const wake = (runId: string, seq: number): void => {
    const queues = followers.get(runId)
    if (queues === undefined) return
    lastSeen.set(runId, Math.max(seq, lastSeen.get(runId) ?? 0))
    for (const queue of queues) Queue.offerUnsafe(queue, undefined)
  }

  const stored = (runId: string) => (row: EventRow): Effect.Effect<StoredEvent, RunStoreError> =>
    decode(row.event).pipe(
      Effect.map((event) => ({ runId, seq: row.seq, at: row.at, event })),
      Effect.mapError((error) => new RunStoreError({ message: `event ${row.seq} of run ${runId} is not one that this hyper knows (upgrade hyper?): ${error.message}` }))
    )

  const insert = (runId: string, event: RunEvent, json: string, once: string | null, at: number) => {
    const existing = sql`SELECT seq, at, event FROM run_events WHERE run_id = ${runId} AND once = ${once}`
    const bump =
      event._tag === "RunQueued"
        ? sql`INSERT INTO runs (id, tenant, pipeline, created_at, last_seq)
              SELECT ${runId}, ${event.tenant}, ${event.plan.pipeline}, ${at}::float8, 1 WHERE NOT EXISTS (SELECT 1 FROM existing)
              ON CONFLICT (id) DO UPDATE SET last_seq = runs.last_seq + 1 RETURNING last_seq`
        : sql`UPDATE runs SET last_seq = last_seq + 1, ended = CASE ${event._tag}::text WHEN 'RunEnded' THEN true WHEN 'RunStarted' THEN false WHEN 'RunResumed' THEN false ELSE ended END
              WHERE id = ${runId} AND NOT EXISTS (SELECT 1 FROM existing) RETURNING last_seq`
    return sql<EventRow>`WITH existing AS (${existing}), bump AS (${bump}),
      added AS (INSERT INTO run_events (run_id, seq, at, once, event) SELECT ${runId}, last_seq, ${at}::float8, ${once}, ${json}::json FROM bump RETURNING seq, at, event)
      SELECT seq, at, event::text AS event FROM added UNION ALL SELECT seq, at, event::text FROM existing`
  }

  const append: RunStore["Service"]["append"] = (runId, event, options) =>
    Effect.gen(function* () {
      // a run is queued once, whoever says so again
      const once = options?.once ?? (event._tag === "RunQueued" ? "queued" : null)
      const json = yield* Effect.mapError(encode(event), storeError(`event ${event._tag} of run ${runId}`))
      const at = yield* Clock.currentTimeMillis
      const statement = Effect.suspend(() => insert(runId, event, json, once, at))
      // two appends with the same key at the same time: the index lets one through, and the other finds it
      const [row] = yield* Effect.retry(statement, { times: 3, while: (error) => error.reason._tag === "UniqueViolation" }).pipe(Effect.mapError(storeError(`appending to run ${runId}`)))
      if (row === undefined) return yield* new RunStoreError({ message: `appending ${event._tag} to run ${runId}: that run was never queued` })
      wake(runId, row.seq)
      return yield* stored(runId)(row)
    })

  const page = (runId: string, after: number, limit: number) =>
    sql<EventRow>`SELECT seq, at, event::text AS event FROM run_events WHERE run_id = ${runId} AND seq > ${after} ORDER BY seq LIMIT ${limit}`.pipe(
      Effect.mapError(storeError(`reading run ${runId}`)),
      Effect.flatMap(Effect.forEach(stored(runId)))
    )

  const mustExist = (runId: string) =>
    sql`SELECT 1 FROM runs WHERE id = ${runId}`.pipe(
      Effect.mapError(storeError(`reading run ${runId}`)),
      Effect.flatMap((rows) => (rows.length === 0 ? notFound(runId) : Effect.void))
    )

  /** Whether the run has ended with nothing after `seq`. A run that was taken up again has not. */
  const endedAt = (runId: string, seq: number) =>
    sql`SELECT 1 FROM runs WHERE id = ${runId} AND ended AND last_seq <= ${seq}`.pipe(
      Effect.map((rows) => rows.length > 0),
      Effect.mapError(storeError(`reading run ${runId}`))
    )

  const events: RunStore["Service"]["events"] = (runId, after = 0) =>
    Effect.flatMap(page(runId, after, 2_000_000_000), (found) => (found.length === 0 ? Effect.as(mustExist(runId), found) : Effect.succeed(found)))

  const subscribe = (runId: string) =>
    Effect.acquireRelease(
      Effect.gen(function* () {
        const queue = yield* Queue.sliding<void>(1)
        followers.set(runId, (followers.get(runId) ?? new Set()).add(queue))
        return queue
      }),
      (queue) =>
        Effect.sync(() => {
          const queues = followers.get(runId)
          queues?.delete(queue)
          if (queues?.size === 0) {
            followers.delete(runId)
            lastSeen.delete(runId)
          }
        })
    )

  const follow: RunStore["Service"]["follow"] = (runId, after = 0) =>
    Stream.unwrap(
      Effect.gen(function* () {
        yield* mustExist(runId)
        // listened to before the first read: what is appended in between wakes us again, and is read by its number, once
        const wakeups = yield* subscribe(runId)
        return Stream.paginate(after, (cursor: number) =>
          Effect.gen(function* () {
            for (;;) {
              const found = yield* page(runId, cursor, pageSize)
              const last = found.at(-1)?.seq ?? cursor
              const ended = (found.length === 0 || found.some(({ event }) => event._tag === "RunEnded")) && (yield* endedAt(runId, last))
              if (found.length > 0 || ended) return [found, ended ? Option.none<number>() : Option.some(last)] as const
              yield* Queue.take(wakeups)
            }
          })
        )
      })
    )

  const poll = Effect.gen(function* () {
    if (followers.size === 0) return
    const rows = yield* sql<{ id: string; seq: number }>`SELECT id, last_seq AS seq FROM runs WHERE id = ANY(${[...followers.keys()]}::text[])`
    for (const { id, seq } of rows) if (seq > (lastSeen.get(id) ?? 0)) wake(id, seq)
  })
  // a database that is away for a moment must not end the polling
  yield* poll.pipe(
    Effect.catchCause((cause) => (Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.void)),
    Effect.repeat(Schedule.spaced(pollMillis)),
    Effect.forkScoped
  )

  const ids = (rows: ReadonlyArray<{ readonly id: string }>): ReadonlyArray<string> => rows.map((row) => row.id)

  const resolve: RunStore["Service"]["resolve"] = (tenant, idOrPrefix) =>
    Effect.gen(function* () {
      const found =
        idOrPrefix === "latest"
          ? yield* sql<{ id: string }>`SELECT id FROM runs WHERE tenant = ${tenant} ORDER BY created_at DESC, id DESC LIMIT 1`
          : yield* sql<{ id: string }>`SELECT id FROM runs WHERE tenant = ${tenant} AND (id = ${idOrPrefix} OR (length(${idOrPrefix}) >= 4 AND starts_with(id, ${idOrPrefix})))
              ORDER BY id = ${idOrPrefix} DESC, id LIMIT 6`
      const [first, second] = ids(found)
      if (first === undefined) {
        const short = idOrPrefix !== "latest" && idOrPrefix.length < 4
        return yield* idOrPrefix === "latest" ? new RunNotFound({ runId: idOrPrefix, message: "there is no run yet; `hyper run pipeline.ts` starts one" }) : short ? new RunNotFound({ runId: idOrPrefix, message: `no run is called ${idOrPrefix}, and a beginning of an id needs at least four characters` }) : notFound(idOrPrefix)
      }
      if (second !== undefined && first !== idOrPrefix) return yield* new RunNotFound({ runId: idOrPrefix, message: `${idOrPrefix} is the beginning of several runs: ${ids(found).slice(0, 5).join(", ")}${found.length > 5 ? ", ..." : ""}` })
      return first
    }).pipe(Effect.mapError((error) => (error instanceof SqlError ? storeError(`looking for run ${idOrPrefix}`)(error) : error)))

  return RunStore.of({
    append,
    events,
    follow,
    resolve,
    list: (tenant, limit = 50) => sql<{ id: string }>`SELECT id FROM runs WHERE tenant = ${tenant} ORDER BY created_at DESC, id DESC LIMIT ${limit}`.pipe(Effect.map(ids), Effect.mapError(storeError("listing runs"))),
    unfinished: sql<{ id: string }>`SELECT id FROM runs WHERE NOT ended ORDER BY created_at, id`.pipe(Effect.map(ids), Effect.mapError(storeError("listing unfinished runs"))),
    cacheGet: (tenant, cacheKey) =>
      sql<{ output: string; runId: string }>`SELECT output::text AS output, run_id AS "runId" FROM step_cache WHERE tenant = ${tenant} AND cache_key = ${cacheKey}`.pipe(
        Effect.map(([row]) => (row === undefined ? undefined : { output: JSON.parse(row.output) as unknown, runId: row.runId })),
        Effect.mapError(storeError("reading the step cache"))
      ),
    cachePut: (tenant, cacheKey, output, runId) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        sql`INSERT INTO step_cache (tenant, cache_key, output, run_id, created_at) VALUES (${tenant}, ${cacheKey}, ${JSON.stringify(output ?? null)}::json, ${runId}, ${now}::float8)
            ON CONFLICT (tenant, cache_key) DO UPDATE SET output = excluded.output, run_id = excluded.run_id, created_at = excluded.created_at`
      ).pipe(Effect.asVoid, Effect.mapError(storeError("writing the step cache")))
  })
})

/** Requires a migrated `SqlClient` (store/Database.ts). */
export const layer: Layer.Layer<RunStore, never, SqlClient> = Layer.effect(RunStore, make)
