/** TelemetryStore over SQL. */
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { canonicalJson } from "../artifact/canonicalJson.ts"
import { type BatchFault, verifyBatch } from "./batch.ts"
import { type NewLine, newLines } from "./newLines.ts"
import { type Sample, SignedBatch } from "./Sample.ts"
import { TelemetryError, TelemetryStore } from "./TelemetryStore.ts"

/** An unknown field is refused: it would be signed, and then dropped. */
const decodeBatch = Schema.decodeUnknownEffect(SignedBatch, { onExcessProperty: "error" })

interface StoredSample {
  readonly id: number
  readonly step_id: string
  readonly node: string
  readonly sample: Sample
}

const stored = (error: SqlError): TelemetryError =>
  new TelemetryError({ message: `The telemetry store failed: ${error.reason.cause instanceof Error ? error.reason.cause.message : error.message}` })

const refusal = (fault: BatchFault): TelemetryError => new TelemetryError({ reason: fault.reason, message: `Telemetry ${fault.message}`, remedy: fault.remedy })

const malformed = (message: string): TelemetryError =>
  new TelemetryError({ reason: "malformed", message, remedy: "Batches are JSON lines of the form in telemetry/Sample.ts, as the supervisor writes them." })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient

  /** One writer a run: sample ids of a run appear in their order, so that `after` misses none. Held to the end of the transaction. */
  const lockRun = (runId: string) => sql`SELECT pg_advisory_xact_lock(hashtextextended(${`telemetry:${runId}`}, 0))::text`

  /** Inside the transaction of the caller. Returns whether the batch was new. */
  const store = Effect.fnUntraced(function* (runId: string, stepId: string, batch: SignedBatch): Effect.fn.Return<boolean, TelemetryError | SqlError> {
    const { digest, job, node, sequence } = batch
    const unsound = verifyBatch(batch)
    if (unsound !== undefined) return yield* refusal(unsound)
    // The primary key is the last word on "exactly once"; two runs that bring one chain are kept apart by this lock.
    yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`chain:${job}:${node}`}, 0))::text`
    const [same] = yield* sql<{ digest: string }>`SELECT digest FROM telemetry_batches WHERE job = ${job} AND node = ${node} AND sequence = ${sequence}`
    if (same?.digest === digest) return false
    const [head] = yield* sql<{ sequence: number; digest: string }>`SELECT sequence, digest FROM telemetry_batches WHERE job = ${job} AND node = ${node} ORDER BY sequence DESC LIMIT 1`
    const broken = verifyBatch(batch, head ?? null)
    if (broken !== undefined) return yield* refusal(broken)
    const now = yield* Clock.currentTimeMillis
    const [row] = yield* sql<{ id: string }>`
      INSERT INTO telemetry_batches (run_id, step_id, job, node, sequence, digest, batch, received_at)
      VALUES (${runId}, ${stepId}, ${job}, ${node}, ${sequence}, ${digest}, CAST(${canonicalJson(batch)}::text AS json), ${now}) RETURNING id::text`
    yield* sql`
      INSERT INTO telemetry_samples (run_id, step_id, node, batch, sample)
      SELECT ${runId}, ${stepId}, ${node}, CAST(${row?.id ?? ""}::text AS bigint), e.value
      FROM telemetry_batches b, json_array_elements(b.batch -> 'samples') WITH ORDINALITY AS e(value, n)
      WHERE b.job = ${job} AND b.node = ${node} AND b.sequence = ${sequence} ORDER BY e.n`
    return true
  })

  const parse = Effect.fnUntraced(function* (where: string, text: string): Effect.fn.Return<SignedBatch, TelemetryError> {
    const value = yield* Effect.try({ try: () => JSON.parse(text) as unknown, catch: () => malformed(`${where} is not JSON`) })
    // the schema's own message quotes values, and a line may hold anything
    return yield* Effect.mapError(decodeBatch(value), () => malformed(`${where} is not a signed batch`))
  })

  const takeLine = Effect.fnUntraced(function* (runId: string, stepId: string, directory: string, line: NewLine) {
    const where = `batches.jsonl of step ${stepId}, byte ${line.at},`
    let batch: SignedBatch | undefined
    const taken = Effect.gen(function* () {
      batch = yield* parse(where, line.text)
      return (yield* store(runId, stepId, batch)) ? batch.samples : []
    })
    return yield* taken.pipe(
      Effect.catchTag("TelemetryError", (error) =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          yield* sql`
            INSERT INTO telemetry_refusals (run_id, step_id, directory, read_at, node, reason, message, remedy, samples, at)
            VALUES (${runId}, ${stepId}, ${directory}, ${line.at}, CAST(${batch?.node ?? null} AS text), ${error.reason ?? "malformed"}, ${error.message}, ${error.remedy ?? ""}, ${batch?.samples.length ?? 1}, ${now})
            ON CONFLICT DO NOTHING`
          yield* Effect.logWarning(error.message)
          return [] as ReadonlyArray<Sample>
        }))
    )
  })

  return TelemetryStore.of({
    append: Effect.fn("TelemetryStore.append")(function* (runId, stepId, batch) {
      const checked = yield* Effect.mapError(decodeBatch(batch), () => malformed("A batch is not of the form in telemetry/Sample.ts"))
      yield* sql.withTransaction(Effect.andThen(lockRun(runId), store(runId, stepId, checked))).pipe(Effect.catchTag("SqlError", stored))
    }),

    ingest: Effect.fn("TelemetryStore.ingest")(function* (runId, stepId, directory) {
      const samples: Array<Sample> = []
      for (let done = false; !done;) {
        const chunk = yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* lockRun(runId)
            const [file] = yield* sql<{ read_to: number }>`SELECT read_to FROM telemetry_files WHERE run_id = ${runId} AND step_id = ${stepId} AND directory = ${directory}`
            const found = yield* Effect.tryPromise({
              try: () => newLines(join(directory, "batches.jsonl"), file?.read_to ?? 0),
              catch: (cause) => new TelemetryError({ message: `Reading telemetry of step ${stepId}: ${cause instanceof Error ? cause.message : String(cause)}` })
            })
            const fresh: Array<Sample> = []
            for (const line of found.lines) fresh.push(...(yield* takeLine(runId, stepId, directory, line)))
            if (found.readTo !== (file?.read_to ?? 0)) {
              yield* sql`INSERT INTO telemetry_files (run_id, step_id, directory, read_to) VALUES (${runId}, ${stepId}, ${directory}, ${found.readTo})
                ON CONFLICT (run_id, step_id, directory) DO UPDATE SET read_to = EXCLUDED.read_to`
            }
            return { fresh, done: found.done }
          })
        ).pipe(Effect.catchTag("SqlError", stored))
        samples.push(...chunk.fresh)
        done = chunk.done
      }
      return samples
    }),

    samples: Effect.fn("TelemetryStore.samples")(function* (runId, { after = 0, limit = 10_000, stepId } = {}) {
      const rows = yield* sql<StoredSample>`
        SELECT id::float8 AS id, step_id, node, sample FROM telemetry_samples
        WHERE run_id = ${runId} AND id > CAST(${String(after)}::text AS bigint) AND (${stepId === undefined} OR step_id = ${stepId ?? ""})
        ORDER BY id LIMIT ${limit}`.pipe(Effect.catchTag("SqlError", stored))
      return rows.map(({ id, node, sample, step_id }) => ({ ...sample, id, stepId: step_id, node }))
    }),

    batches: Effect.fn("TelemetryStore.batches")(function* (runId) {
      const rows = yield* sql<{ batch: SignedBatch }>`SELECT batch FROM telemetry_batches WHERE run_id = ${runId} ORDER BY id`.pipe(Effect.catchTag("SqlError", stored))
      return rows.map(({ batch }) => batch)
    })
  })
})

/** Needs the migrated database. */
export const layer: Layer.Layer<TelemetryStore, never, SqlClient> = Layer.effect(TelemetryStore, make)
