/**
 * SQL for everything else: `SqlClient` (and `PgClient`) over a private PostgreSQL of this home, or over the one that `DATABASE_URL`
 * names, with all migrations applied.
 *
 * The private server is started when it is not running, adopted when it is (a daemon that was killed leaves it behind), brought back
 * when it dies, and stopped when the layer closes, unless another process of the same home still uses it. Processes show that they use
 * it by holding a shared advisory lock; the last one out gets it exclusively.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { SqlClient } from "effect/sql/SqlClient"
import { SqlError } from "effect/sql/SqlError"
import { join } from "node:path"
import { CurrentHome } from "../capability/CurrentHome.ts"
import type { Home } from "../Home.ts"
import { DatabaseError, databaseErrorFrom } from "./DatabaseError.ts"
import { migrate } from "./migrate.ts"
import { findBinaries } from "./postgres/Binaries.ts"
import { findDataDirectory, placeDatabase } from "./postgres/Placement.ts"
import { createData, databaseUser, runningServer, socketPath, startServer, stopServer } from "./postgres/Server.ts"

const applicationName = "hypernode"
const usersLock = 6_846_841
/** A commit waits for the disk; as many may wait at once, and share one flush. */
const connections = 24

const attempt = <A>(where: string, run: () => Promise<A>): Effect.Effect<A, DatabaseError> => Effect.tryPromise({ try: run, catch: (cause) => databaseErrorFrom(where, cause) })

const ensureServer = (home: Home): Effect.Effect<{ readonly path: string; readonly dataDirectory: string }, DatabaseError> =>
  attempt(`the database of ${home.root}`, async () => {
    const placement = await placeDatabase(home)
    const binaries = await findBinaries(home.cache, placement.owner)
    await createData(placement, binaries)
    await startServer(placement, binaries, join(home.root, "postgres.log"))
    return { path: socketPath(placement), dataDirectory: placement.dataDirectory }
  })

/** Ends the home's private server, if one runs; true when it did. Nothing to do with `DATABASE_URL`. */
export const stopDatabase = (home: Home): Effect.Effect<boolean, DatabaseError> =>
  attempt(`stopping the database of ${home.root}`, async () => {
    const directory = await findDataDirectory(home)
    return directory === undefined ? false : await stopServer(directory)
  })

const privateDatabase = Effect.gen(function* () {
  const home = yield* CurrentHome
  // a server that is going down (its last user just left) takes the new connection with it: then it is started again
  const use = Effect.gen(function* () {
    const server = yield* ensureServer(home)
    const lock = yield* PgClient.makeClient({ path: server.path, username: databaseUser, database: "postgres", applicationName })
    yield* lock`SELECT pg_advisory_lock_shared(${usersLock})::text`
    return { server, lock }
  })
  const { server } = yield* Effect.acquireRelease(Effect.retry(use, { schedule: Schedule.spaced("50 millis"), times: 20, while: (error) => error instanceof SqlError }), ({ lock, server }) =>
    Effect.gen(function* () {
      yield* lock`SELECT pg_advisory_unlock_shared(${usersLock})`
      const [last] = yield* lock<{ last: boolean }>`SELECT pg_try_advisory_lock(${usersLock}) AS last`
      if (last?.last === true) yield* attempt("stopping the database", () => stopServer(server.dataDirectory))
    }).pipe(Effect.ignore)
  )
  yield* keepAlive(home, server.dataDirectory)
  return yield* PgClient.make({ path: server.path, username: databaseUser, database: "postgres", applicationName, maxConnections: connections, idleTimeout: Duration.minutes(5) })
})

/** The server is not our child after an adoption, so its life is looked at rather than awaited. */
const keepAlive = (home: Home, dataDirectory: string) =>
  Effect.gen(function* () {
    const running = yield* attempt("the database", () => runningServer(dataDirectory))
    // a home that was deleted under us is not made anew
    if (running === undefined && (yield* attempt("the database", () => findDataDirectory(home))) === dataDirectory) yield* ensureServer(home)
  }).pipe(Effect.ignore, Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)

const remoteDatabase = (url: Redacted.Redacted) => PgClient.make({ url, applicationName, maxConnections: connections, keepAlive: Duration.seconds(15) })

const unreachable = (error: SqlError, what: string): DatabaseError =>
  new DatabaseError({
    reason: "Unreachable",
    message: `${what}: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}`,
    remedy: "check that the server runs and that host, port, user, password and database name are right"
  })

/** `SqlClient` and `PgClient`, migrated. Reads `DATABASE_URL`. */
export const layer: Layer.Layer<SqlClient | PgClient.PgClient, DatabaseError, CurrentHome> = Layer.unwrap(
  Effect.gen(function* () {
    const url = yield* Effect.orDie(Config.option(Config.Redacted("DATABASE_URL")))
    const home = yield* CurrentHome
    const remote = Option.isSome(url) && Redacted.value(url.value) !== ""
    const what = remote ? "the PostgreSQL that DATABASE_URL names" : `the database of ${home.root}`
    const acquire = remote ? remoteDatabase(url.value) : Effect.provideService(privateDatabase, CurrentHome, home)
    const client = PgClient.layerFrom(Effect.mapError(acquire, (error) => (error instanceof SqlError ? unreachable(error, what) : error)))
    const migrated = Layer.effectDiscard(Effect.mapError(migrate(), (error) => (error instanceof SqlError ? unreachable(error, what) : error)))
    return Layer.provideMerge(migrated, client)
  })
)
