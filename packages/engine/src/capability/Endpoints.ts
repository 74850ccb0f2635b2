/** What the gateway routes to. An endpoint outlives its run, the CLI and the daemon. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Endpoint } from "../stage/values.ts"
import { JobError, JobHandle } from "./Jobs.ts"

export const EndpointRecord = Schema.Struct({
  endpoint: Endpoint,
  tenant: Schema.String,
  runId: Schema.String,
  /** http://127.0.0.1:<port> of the model server */
  upstream: Schema.String,
  /** model name the upstream wants; the gateway presents `endpoint.model` */
  upstreamModel: Schema.String,
  job: JobHandle,
  state: Schema.Literals(["starting", "healthy", "unhealthy", "stopped"]),
  /** epoch milliseconds of the last real completion */
  lastCompletionAt: Schema.NullOr(Schema.Int)
})
export type EndpointRecord = typeof EndpointRecord.Type

export class Endpoints extends Context.Service<
  Endpoints,
  {
    /** URL of the gateway, starting it when it is not there. */
    readonly gatewayUrl: Effect.Effect<string, JobError>
    /** Makes the API key (kept in the keyring under `keyId`, stored hashed for the gateway), writes the route and a new signed snapshot. Idempotent on `id`. */
    readonly register: (route: {
      readonly id: string
      readonly tenant: string
      readonly runId: string
      readonly model: string
      readonly packaged: Endpoint["packaged"]
      readonly upstream: string
      readonly upstreamModel: string
      readonly job: JobHandle
    }) => Effect.Effect<Endpoint, JobError>
    readonly get: (id: string) => Effect.Effect<EndpointRecord | undefined, JobError>
    readonly list: (tenant: string) => Effect.Effect<ReadonlyArray<EndpointRecord>, JobError>
    /** Plain API key, for its owner. */
    readonly apiKey: (id: string) => Effect.Effect<string, JobError>
    readonly markHealth: (id: string, healthy: boolean) => Effect.Effect<void, JobError>
    /** Route removed first, then the job is cancelled. Idempotent. */
    readonly stop: (id: string) => Effect.Effect<void, JobError>
  }
>()("@hypernode/engine/capability/Endpoints") {}
