/** Endpoints over the gateway: rows in SQL say what is served, a signed snapshot tells the gateway, jobs are the servers behind it. */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { SqlClient } from "effect/sql/SqlClient"
import type { Digest } from "../artifact/Digest.ts"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { type EndpointRecord, Endpoints } from "../capability/Endpoints.ts"
import { JobError, JobHandle, Jobs } from "../capability/Jobs.ts"
import { Keyring } from "../keys/Keyring.ts"
import { GatewayProgram } from "./GatewayProgram.ts"
import { ensureGateway, gatewayHealth, readGatewayState, runningGateway } from "./gatewayProcess.ts"
import { keyHash, keyHint } from "./GatewaySnapshot.ts"
import { ingestUsage } from "./ingestUsage.ts"
import { GATEWAY_KEY, publishSnapshot, toJobError } from "./publishSnapshot.ts"

interface Row {
  readonly id: string
  readonly tenant: string
  readonly run_id: string
  readonly model: string
  readonly packaged: string
  readonly upstream: string
  readonly upstream_model: string
  readonly job: string
  readonly key_id: string
  readonly key_hint: string
  readonly state: EndpointRecord["state"]
  readonly last_completion_at: number | null
}

const jobOf = Schema.decodeSync(Schema.fromJsonString(JobHandle))
const jobText = Schema.encodeSync(Schema.fromJsonString(JobHandle))
const newKey = (): string => `hk-${randomBytes(32).toString("base64url")}`
const urlAt = (port: number): string => `http://127.0.0.1:${port}`
const unknown = (id: string): JobError => new JobError({ message: `There is no endpoint ${id}.`, remedy: "hyper endpoints lists those there are" })

const make = Effect.gen(function* () {
  const context = yield* Effect.context<CurrentHome | Keyring | SqlClient>()
  const home = yield* CurrentHome
  const keyring = yield* Keyring
  const jobs = yield* Jobs
  const sql = yield* SqlClient
  const program = yield* GatewayProgram
  const starting = yield* Semaphore.make(1)

  const ensure = Effect.gen(function* () {
    const publicKey = yield* Effect.mapError(keyring.publicKey(GATEWAY_KEY), toJobError("The gateway's key cannot be read"))
    return yield* ensureGateway(home, program, publicKey)
  }).pipe(starting.withPermits(1), Effect.uninterruptible)

  /** Until the gateway routes by this version; what it refuses is told. */
  const taken = Effect.fnUntraced(function* (version: number) {
    for (let tries = 0; tries < 200; tries++) {
      const state = runningGateway(home.gateway)
      if (state === undefined) return yield* new JobError({ message: "The gateway ended while it was given its routes.", remedy: "try again: it is started by itself" })
      const health = yield* Effect.promise(() => gatewayHealth(state))
      if (health !== undefined && health.snapshot >= version) return
      if (health?.refused !== undefined && tries > 20) return yield* new JobError({ message: `The gateway does not take its routes: ${health.refused}`, remedy: "hyper stop, then run again" })
      yield* Effect.sleep(tries < 20 ? "15 millis" : "50 millis")
    }
    return yield* new JobError({ message: `The gateway did not take snapshot ${version} within 10 s.`, remedy: `see ${home.gateway}/gateway.log` })
  })

  const publish = <A, E extends { readonly message: string }>(change: Effect.Effect<A, E>) => Effect.provideContext(publishSnapshot(change), context)

  const toRecord = Effect.fnUntraced(function* (row: Row) {
    const port = readGatewayState(home.gateway)?.port ?? program.port ?? 8484
    const job = jobOf(row.job)
    // a server that is gone serves nothing, whatever was last heard of it
    const dead = row.state === "stopped" ? false : yield* Effect.map(jobs.state(job), (state) => state._tag === "Ended" || state._tag === "Lost")
    return {
      endpoint: { id: row.id, url: `${urlAt(port)}/v1`, model: row.model, keyHint: row.key_hint, keyId: row.key_id, packaged: row.packaged as Digest },
      tenant: row.tenant,
      runId: row.run_id,
      upstream: row.upstream,
      upstreamModel: row.upstream_model,
      job,
      state: dead ? "unhealthy" : row.state,
      lastCompletionAt: row.last_completion_at
    } satisfies EndpointRecord
  })

  const find = (id: string) => Effect.map(sql<Row>`SELECT * FROM endpoints WHERE id = ${id}`, (rows) => rows[0]).pipe(Effect.mapError(toJobError(`Endpoint ${id} cannot be read`)))

  const get = (id: string) => Effect.flatMap(find(id), (row) => (row === undefined ? Effect.succeed(undefined) : toRecord(row)))

  /** Not for servers that are gone: after `hyper stop` or a restart of the machine there is nothing to route to. */
  const isNeeded = Effect.gen(function* () {
    const rows = yield* sql<{ job: string }>`SELECT job FROM endpoints WHERE state <> 'stopped'`
    for (const { job } of rows) {
      const { _tag } = yield* jobs.state(jobOf(job))
      if (_tag === "Running" || _tag === "Starting") return true
    }
    return false
  })

  const watch = Effect.gen(function* () {
    if (runningGateway(home.gateway) === undefined && (yield* isNeeded)) yield* ensure
    yield* Effect.provideContext(ingestUsage, context)
  }).pipe(
    Effect.catch((error) => Effect.logWarning(`endpoints: ${error.message}`)),
    Effect.repeat(Schedule.spaced("5 seconds"))
  )
  yield* Effect.forkScoped(watch)

  return Endpoints.of({
    gatewayUrl: Effect.map(ensure, (state) => urlAt(state.port)),
    register: Effect.fn("Endpoints.register")(function* (route) {
      const keyId = `endpoint/${route.id}`
      const key = Redacted.value(yield* Effect.mapError(keyring.getOrCreate(keyId, newKey), toJobError("The endpoint's key cannot be made")))
      const row = {
        id: route.id,
        tenant: route.tenant,
        run_id: route.runId,
        model: route.model,
        packaged: route.packaged,
        upstream: route.upstream,
        upstream_model: route.upstreamModel,
        job: jobText(route.job),
        key_id: keyId,
        key_hint: keyHint(key),
        key_hash: keyHash(key),
        state: "starting",
        created_at: Date.now()
      }
      // first a gateway, then its routes: the caller may use the URL when this returns
      const state = yield* ensure
      const { version } = yield* publish(sql`INSERT INTO endpoints ${sql.insert(row)} ON CONFLICT (id) DO UPDATE SET ${sql.update(row, ["id", "created_at", "tenant"])}`)
      yield* taken(version)
      return { id: row.id, url: `${urlAt(state.port)}/v1`, model: row.model, keyHint: row.key_hint, keyId, packaged: route.packaged }
    }),
    get,
    list: (tenant) =>
      Effect.flatMap(sql<Row>`SELECT * FROM endpoints WHERE tenant = ${tenant} ORDER BY created_at, id`.pipe(Effect.mapError(toJobError("Endpoints cannot be listed"))), (rows) =>
        Effect.forEach(rows, toRecord)
      ),
    apiKey: Effect.fn("Endpoints.apiKey")(function* (id) {
      const row = yield* find(id)
      if (row === undefined) return yield* unknown(id)
      return Redacted.value(yield* Effect.mapError(keyring.get(row.key_id), toJobError(`The key of endpoint ${id} is not there`)))
    }),
    markHealth: Effect.fn("Endpoints.markHealth")(function* (id, healthy) {
      const rows = yield* (healthy
        ? sql`UPDATE endpoints SET state = 'healthy', last_completion_at = ${Date.now()} WHERE id = ${id} AND state <> 'stopped' RETURNING id`
        : sql`UPDATE endpoints SET state = 'unhealthy' WHERE id = ${id} AND state <> 'stopped' RETURNING id`
      ).pipe(Effect.mapError(toJobError(`The health of endpoint ${id} cannot be written`)))
      if (rows.length === 0 && (yield* find(id)) === undefined) return yield* unknown(id)
    }),
    stop: Effect.fn("Endpoints.stop")(function* (id) {
      const row = yield* find(id)
      if (row === undefined) return yield* unknown(id)
      // also when it is marked stopped: an earlier call may have been cut off before the server was
      const { version } = yield* publish(sql`UPDATE endpoints SET state = 'stopped' WHERE id = ${id}`)
      if (runningGateway(home.gateway) !== undefined) yield* taken(version)
      yield* jobs.cancel(jobOf(row.job))
    })
  })
})

/** Watches as long as it is open: brings a dead gateway back where something is served, and takes usage into SQL. */
export const layer: Layer.Layer<Endpoints, never, CurrentHome | GatewayProgram | Jobs | Keyring | SqlClient> = Layer.effect(Endpoints, make)
