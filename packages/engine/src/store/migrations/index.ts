/** Forward-only migrations, run in order at start. A migration that has landed is never edited. */
import type * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

export type Migration = Effect.Effect<unknown, SqlError, SqlClient>

/** One line each: `"0003_telemetry": telemetry,` */
export const migrations: Readonly<Record<string, Migration>> = {}
