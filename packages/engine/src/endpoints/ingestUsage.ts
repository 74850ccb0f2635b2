/** The gateway's usage log into SQL: each (gateway, sequence) once, whatever is read twice or crashes in between. */
import { readdir, readFile, rm } from "node:fs/promises"
import { basename, join } from "node:path"
import { isReadonlyArrayNonEmpty as isNonEmpty } from "effect/Array"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { JobError } from "../capability/Jobs.ts"
import { gatewayFiles, type UsageRecord } from "./GatewayState.ts"
import { toJobError } from "./publishSnapshot.ts"

const BATCH = 500

const isRecord = (value: unknown): value is UsageRecord => {
  const record = value as Partial<UsageRecord> | null
  return (
    typeof record === "object" && record !== null && typeof record.gateway === "string" && Number.isSafeInteger(record.sequence) && typeof record.endpoint === "string" && typeof record.tenant === "string" &&
    Number.isSafeInteger(record.promptTokens) && Number.isSafeInteger(record.completionTokens) && typeof record.at === "number" && Number.isSafeInteger(record.status)
  )
}

/** Whole lines only: the last one may be half written. Headers and torn lines are no records. */
const recordsIn = (text: string): Array<UsageRecord> =>
  text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .flatMap((line) => {
      if (line === "" || line.startsWith('{"header"')) return []
      try {
        const value: unknown = JSON.parse(line)
        return isRecord(value) ? [value] : []
      } catch {
        return []
      }
    })

const toRow = (record: UsageRecord) => ({
  gateway: record.gateway,
  sequence: record.sequence,
  at: record.at,
  endpoint: record.endpoint,
  tenant: record.tenant,
  key_hint: record.key,
  operation: record.operation,
  prompt_tokens: record.promptTokens,
  completion_tokens: record.completionTokens,
  estimated: record.estimated,
  milliseconds: record.milliseconds,
  status: record.status
})

/** A file that is not there (yet, or any more) reads as `otherwise`. */
const read = <A>(call: () => Promise<A>, otherwise: A): Effect.Effect<A, JobError> =>
  Effect.tryPromise({ try: call, catch: (error) => error as NodeJS.ErrnoException }).pipe(
    Effect.catch((error) => (error.code === "ENOENT" ? Effect.succeed(otherwise) : Effect.fail(new JobError({ message: `The gateway's usage cannot be read: ${error.message}` }))))
  )

/** Rotated files first, in their order, so that the highest sequence known never hides a lower one. */
const order = (name: string): number => Number(/\.(\d+)\./.exec(name)?.[1] ?? Infinity)

/** Returns how many were new. A rotated file goes when all of it is in SQL. */
export const ingestUsage: Effect.Effect<number, JobError, CurrentHome | SqlClient> = Effect.gen(function* () {
  const home = yield* CurrentHome
  const sql = yield* SqlClient
  const { usage, usageDirectory } = gatewayFiles(home.gateway)
  const names = (yield* read(() => readdir(usageDirectory), [])).filter((name) => /^usage(\.\d+)?\.jsonl$/.test(name))
  const seen = new Map<string, number>()
  let added = 0
  for (const name of names.toSorted((a, b) => order(a) - order(b))) {
    const path = join(usageDirectory, name)
    const records = recordsIn(yield* read(() => readFile(path, "utf8"), ""))
    for (const gateway of new Set(records.map((record) => record.gateway))) {
      if (seen.has(gateway)) continue
      const [last] = yield* sql<{ sequence: number | null }>`SELECT max(sequence) AS sequence FROM gateway_usage WHERE gateway = ${gateway}`
      seen.set(gateway, last?.sequence ?? 0)
    }
    const fresh = records.filter((record) => record.sequence > (seen.get(record.gateway) ?? 0))
    for (let start = 0; start < fresh.length; start += BATCH) {
      const rows: ReadonlyArray<Record<string, unknown>> = fresh.slice(start, start + BATCH).map(toRow)
      if (!isNonEmpty(rows)) break
      added += (yield* sql`INSERT INTO gateway_usage ${sql.insert(rows)} ON CONFLICT (gateway, sequence) DO NOTHING RETURNING sequence`).length
    }
    for (const record of fresh) seen.set(record.gateway, Math.max(seen.get(record.gateway) ?? 0, record.sequence))
    if (name !== basename(usage)) yield* read(() => rm(path, { force: true }), undefined)
  }
  return added
}).pipe(Effect.mapError(toJobError("Usage cannot be taken in")))

export interface EndpointUsage {
  readonly endpoint: string
  readonly requests: number
  readonly promptTokens: number
  readonly completionTokens: number
}

/** What has been ingested so far, per endpoint of a tenant, since `since` (epoch milliseconds). */
export const endpointUsage = (tenant: string, since = 0): Effect.Effect<ReadonlyArray<EndpointUsage>, JobError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    return yield* sql<EndpointUsage>`SELECT endpoint, count(*)::int AS requests, sum(prompt_tokens)::int AS "promptTokens", sum(completion_tokens)::int AS "completionTokens"
      FROM gateway_usage WHERE tenant = ${tenant} AND at >= ${since} GROUP BY endpoint ORDER BY endpoint`
  }).pipe(Effect.mapError(toJobError("Usage cannot be read")))
