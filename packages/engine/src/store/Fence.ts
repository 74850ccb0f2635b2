/**
 * One daemon per database. The owner holds an advisory lock on a connection of its own for as long as it lives, and has a number, its
 * epoch, higher than that of every owner before it. Whoever writes durable state names its epoch, so that an owner that lost its
 * connection and was replaced can write no more.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { SqlError } from "effect/sql/SqlError"
import { hostname } from "node:os"
import { ownerProcess } from "./ownerProcess.ts"

/** Another daemon owns this database. */
export class FenceError extends Schema.TaggedError<FenceError>()("FenceError", {
  message: Schema.String,
  remedy: Schema.String,
  pid: Schema.optionalKey(Schema.Int),
  host: Schema.optionalKey(Schema.String)
}) {}

const ownerLock = 6_846_842
const heartbeatMillis = 2_000
/** A server notices within moments that the connection of a killed process is gone. */
const patienceMillis = 5_000

interface Owner {
  readonly pid: number
  readonly host: string
  readonly process: string
  readonly epoch: number
}

/** The connection's own server process, so that a dead owner's can be told to go. */
const holders = "SELECT pid::int AS pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1::bigint::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

export class Fence extends Context.Service<
  Fence,
  {
    readonly epoch: number
    /** Completes when this daemon is the owner no more: its connection broke, and another took over. End the daemon then. */
    readonly lost: Effect.Effect<void>
  }
>()("@hypernode/engine/store/Fence") {
  static readonly layer: Layer.Layer<Fence, FenceError, SqlClient> = Layer.effect(
    Fence,
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const me = { pid: process.pid, host: hostname(), process: yield* Effect.promise(() => ownerProcess(process.pid)) }
      const lost = yield* Deferred.make<void>()
      const scope = yield* Effect.scope
      let held = yield* take(sql, scope).pipe(Effect.mapError(asFenceError))
      const now = yield* Clock.currentTimeMillis
      const [row] = yield* sql<{ epoch: number }>`INSERT INTO daemon_epochs (pid, host, process, started_at) VALUES (${me.pid}, ${me.host}, ${me.process}, ${now}::float8) RETURNING epoch`.pipe(Effect.mapError(asFenceError))
      const epoch = row!.epoch

      const beat = Effect.gen(function* () {
        const alive = yield* Effect.exit(held.connection.executeRaw("SELECT 1", []))
        if (Exit.isSuccess(alive)) return
        // the server was restarted, or the line broke: take the lock again, and see whether somebody was faster
        yield* Scope.close(held.scope, Exit.void)
        held = yield* take(sql, scope)
        const [last] = yield* sql<{ epoch: number }>`SELECT max(epoch) AS epoch FROM daemon_epochs`
        if (last?.epoch !== epoch) yield* Deferred.succeed(lost, undefined)
      }).pipe(
        Effect.catchTag("FenceError", () => Deferred.succeed(lost, undefined)),
        Effect.ignore
      )
      yield* beat.pipe(Effect.repeat(Schedule.spaced(heartbeatMillis)), Effect.forkScoped)
      return Fence.of({ epoch, lost: Deferred.await(lost) })
    })
  )
}

const asFenceError = (error: SqlError | FenceError): FenceError =>
  error instanceof FenceError ? error : new FenceError({ message: `the database's owner cannot be determined: ${error.message}`, remedy: "`hyper doctor` looks further" })

interface Held {
  readonly connection: Connection
  readonly scope: Scope.Closeable
}

const take = (sql: SqlClient, parent: Scope.Scope): Effect.Effect<Held, SqlError | FenceError> =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(parent)
    const connection = yield* Scope.provide(sql.reserve, scope)
    const started = yield* Clock.currentTimeMillis
    const query = <A>(text: string, params: ReadonlyArray<unknown>) => connection.execute(text, params, undefined) as Effect.Effect<ReadonlyArray<A>, SqlError>
    for (;;) {
      const [row] = yield* query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [ownerLock])
      if (row?.taken === true) return { connection, scope }
      const [owner] = yield* query<Owner>("SELECT pid, host, process, epoch FROM daemon_epochs ORDER BY epoch DESC LIMIT 1", [])
      const dead = owner !== undefined && owner.host === hostname() && (yield* Effect.promise(() => ownerProcess(owner.pid))) !== owner.process
      const waited = (yield* Clock.currentTimeMillis) - started
      if (!dead || waited > patienceMillis) {
        yield* Scope.close(scope, Exit.void)
        return yield* new FenceError({
          message: owner === undefined ? "another daemon holds this database" : `the daemon with pid ${owner.pid} on host ${owner.host} owns this database (epoch ${owner.epoch})`,
          remedy: "stop it there with `hyper stop`, or give this one another HYPER_HOME or DATABASE_URL",
          ...(owner === undefined ? {} : { pid: owner.pid, host: owner.host })
        })
      }
      // its process is gone, and its connection is about to be
      for (const { pid } of waited > 500 ? yield* query<{ pid: number }>(holders, [ownerLock]) : []) yield* query("SELECT pg_terminate_backend($1)", [pid])
      yield* Effect.sleep(20)
    }
  })
