/** Tables to gateway: a change, the next version, the signature and the file, all or nothing. */
import { readFileSync } from "node:fs"
import { mkdir, open, rename } from "node:fs/promises"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { JobError } from "../capability/Jobs.ts"
import { Keyring } from "../keys/Keyring.ts"
import { type GatewaySnapshot, openSnapshot, SNAPSHOT_FORMAT } from "./GatewaySnapshot.ts"
import { gatewayFiles } from "./GatewayState.ts"

/** keyring name of the key that signs snapshots */
export const GATEWAY_KEY = "gateway"

/** What a model server on this machine is given at one time, and what may wait for it. */
const CONCURRENCY = 8
const QUEUE = 64

export const toJobError = (what: string) => (error: { readonly message: string }): JobError =>
  error instanceof JobError ? error : new JobError({ message: `${what}: ${error.message}` })

/** The version on disk may be ahead of SQL: a commit that was lost, another database. 0 where there is none to trust. */
const versionOnDisk = (directory: string, publicKey: string): number => {
  const files = gatewayFiles(directory)
  const versions = [files.snapshot, files.accepted].map((path) => {
    try {
      return openSnapshot(readFileSync(path, "utf8"), publicKey).version
    } catch {
      return 0
    }
  })
  return Math.max(...versions)
}

const write = (path: string, text: string): Effect.Effect<void, JobError> =>
  Effect.tryPromise({
    try: async () => {
      const file = await open(`${path}.tmp`, "w", 0o600)
      try {
        await file.writeFile(text)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(`${path}.tmp`, path)
    },
    catch: (error) => new JobError({ message: `The gateway's snapshot ${path} cannot be written: ${(error as Error).message}`, remedy: "free some space, or make the home writable" })
  })

interface Row {
  readonly id: string
  readonly tenant: string
  readonly model: string
  readonly upstream: string
  readonly upstream_model: string
  readonly created_at: number
  readonly key_hash: string
  readonly key_hint: string
  readonly requests_per_minute: number | null
  readonly tokens_per_day: number | null
}

/** Makes `change` and gives it to the gateway; returns what the change returned and the snapshot's version. */
export const publishSnapshot = <A, E extends { readonly message: string }, R>(
  change: Effect.Effect<A, E | SqlError, R>
): Effect.Effect<{ readonly version: number; readonly result: A }, JobError, R | CurrentHome | Keyring | SqlClient> =>
  Effect.gen(function* () {
    const home = yield* CurrentHome
    const keyring = yield* Keyring
    const sql = yield* SqlClient
    const publicKey = yield* keyring.publicKey(GATEWAY_KEY)
    yield* Effect.tryPromise({ try: () => mkdir(home.gateway, { recursive: true, mode: 0o700 }), catch: (error) => new JobError({ message: `${home.gateway} cannot be made: ${(error as Error).message}` }) })
    return yield* sql.withTransaction(
      Effect.gen(function* () {
        // first the lock: whoever comes later sees this change, and gets a later version
        const [last] = yield* sql<{ version: number }>`SELECT version FROM gateway_snapshot FOR UPDATE`
        const result = yield* change
        const version = Math.max(last?.version ?? 0, versionOnDisk(home.gateway, publicKey)) + 1
        yield* sql`UPDATE gateway_snapshot SET version = ${version}`
        const rows = yield* sql<Row>`SELECT id, tenant, model, upstream, upstream_model, created_at, key_hash, key_hint, requests_per_minute, tokens_per_day FROM endpoints WHERE state <> 'stopped' ORDER BY created_at, id`
        const snapshot: GatewaySnapshot = {
          format: SNAPSHOT_FORMAT,
          version,
          issuedAt: Date.now(),
          routes: rows.map((row) => ({ id: row.id, tenant: row.tenant, model: row.model, upstream: row.upstream, upstreamModel: row.upstream_model, created: Math.floor(row.created_at / 1000), concurrency: CONCURRENCY, queue: QUEUE })),
          keys: rows.map((row) => ({ hash: row.key_hash, hint: row.key_hint, tenant: row.tenant, endpoints: [row.id], requestsPerMinute: row.requests_per_minute, tokensPerDay: row.tokens_per_day }))
        }
        const payload = JSON.stringify(snapshot)
        const signature = yield* keyring.sign(GATEWAY_KEY, Buffer.from(payload))
        yield* write(gatewayFiles(home.gateway).snapshot, JSON.stringify({ payload, signature }))
        return { version, result }
      })
    )
  }).pipe(Effect.mapError(toJobError("The gateway cannot be told")))

/** Null lifts a limit. Known to the gateway when this returns or moments later. */
export const setQuota = (id: string, quota: { readonly requestsPerMinute: number | null; readonly tokensPerDay: number | null }) =>
  publishSnapshot(
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const rows = yield* sql`UPDATE endpoints SET requests_per_minute = ${quota.requestsPerMinute}, tokens_per_day = ${quota.tokensPerDay} WHERE id = ${id} RETURNING id`
      if (rows.length === 0) return yield* new JobError({ message: `There is no endpoint ${id}.`, remedy: "hyper endpoints lists those there are" })
    })
  ).pipe(Effect.asVoid)
