/** Forward-only migrations, run in order at start. A migration that has landed is never edited. */
import type * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { runs } from "./0001_runs.ts"
import { durable } from "./0002_durable.ts"
import { telemetry } from "./0003_telemetry.ts"
import { ledger } from "./0004_ledger.ts"
import { endpoints } from "./0005_endpoints.ts"
import { api } from "./0007_api.ts"
import { watch } from "./0008_watch.ts"
import { payouts } from "./0009_payouts.ts"

export type Migration = Effect.Effect<unknown, SqlError, SqlClient>

/** One line each: `"0003_telemetry": telemetry,` */
export const migrations: Readonly<Record<string, Migration>> = {
  "0001_runs": runs,
  "0002_durable": durable,
  "0003_telemetry": telemetry,
  "0004_ledger": ledger,
  "0005_endpoints": endpoints,
  "0007_api": api,
  "0008_watch": watch,
  "0009_payouts": payouts
}
