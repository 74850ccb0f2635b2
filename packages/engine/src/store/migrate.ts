/** Brings the tables up to what this hyper knows: forward only, all or nothing, one process at a time. */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { DatabaseError, databaseErrorFrom } from "./DatabaseError.ts"
import { type Migration, migrations as known } from "./migrations/index.ts"

/** Any number will do, as long as no other program uses it on the same database: "hyp" and a counter. */
const migrationLock = 6_846_840

const versionOf = (name: string): number => Number.parseInt(name, 10)

/** Names carry their order: `0003_telemetry` is version 3. */
export const migrate = (migrations: Readonly<Record<string, Migration>> = known): Effect.Effect<void, DatabaseError | SqlError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const all = Object.entries(migrations)
      .map(([name, run]) => ({ name, run, version: versionOf(name) }))
      .sort((a, b) => a.version - b.version)
    for (const [index, { name, version }] of all.entries()) {
      if (!Number.isInteger(version) || all[index + 1]?.version === version) {
        return yield* new DatabaseError({ reason: "Failed", message: `migration ${name}: its number is missing or used twice`, remedy: "give each migration a number of its own in store/migrations/index.ts" })
      }
    }
    const newest = all.at(-1)?.version ?? 0
    const applied = Effect.map(sql<{ version: number }>`SELECT version FROM hyper_schema`, (rows) => new Set(rows.map((row) => row.version)))
    const refuseNewer = (have: ReadonlySet<number>) => {
      const found = Math.max(0, ...have)
      return found <= newest
        ? Effect.void
        : new DatabaseError({ reason: "NewerSchema", message: `database schema ${found} is newer than this hyper knows (${newest})`, remedy: "upgrade hyper" })
    }
    const [table] = yield* sql<{ present: boolean }>`SELECT to_regclass('hyper_schema') IS NOT NULL AS present`
    if (table?.present === true) {
      const have = yield* applied
      yield* refuseNewer(have)
      if (all.every(({ version }) => have.has(version))) return
    }
    yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* sql`SELECT pg_advisory_xact_lock(${migrationLock})::text`
        yield* sql`CREATE TABLE IF NOT EXISTS hyper_schema (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`
        const have = yield* applied
        yield* refuseNewer(have)
        for (const { name, run, version } of all) {
          if (have.has(version)) continue
          yield* Effect.mapError(run, (error) => databaseErrorFrom(`migration ${name}`, new Error(String(error.reason.cause instanceof Error ? error.reason.cause.message : error.message))))
          yield* sql`INSERT INTO hyper_schema (version, name) VALUES (${version}, ${name})`
        }
      })
    )
  })
