/**
 * What the handlers stand on. The daemon implements it over RunStore, TelemetryStore, Ledger and Endpoints; every method is scoped to
 * a tenant, and what belongs to another tenant is `not-found`, the same as what is not there.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { Plan } from "@hypernode/engine/plan/Plan"
import type { Run } from "@hypernode/engine/run/Run"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"
import type { DeployForm } from "./contract/DeployForm.ts"
import type { Catalogue, Cost, Dashboard, EndpointView, Info, LogChunk, PlanView, Rewards, RunSummary, SampleRow } from "./contract/views.ts"

/** `kind` decides the HTTP status: 404, 422, 409, 403, 503, 500. */
export class EngineError extends Schema.TaggedError<EngineError>()("EngineError", {
  kind: Schema.Literals(["not-found", "invalid", "conflict", "denied", "unavailable", "internal"]),
  /** stable, for programs: `run_not_found`, `plan_invalid` */
  code: Schema.String,
  message: Schema.String,
  remedy: Schema.optionalKey(Schema.String)
}) {}

type Answer<A> = Effect.Effect<A, EngineError>

export interface PlanRequest {
  readonly tenant: string
  /** of a pipeline file on this machine (the home's owner only) or its text, planned in isolation; exactly one of the two */
  readonly path?: string
  readonly source?: string
  /** directory that relative paths of `source` start at; the engine's own default where absent */
  readonly projectDirectory?: string
  readonly params: Readonly<Record<string, Schema.Json>>
}

export class Engine extends Context.Service<
  Engine,
  {
    readonly info: Effect.Effect<Info>
    readonly planFile: (request: PlanRequest) => Answer<PlanView>
    /** `by`: who asked, in words, for the event log. */
    readonly submit: (request: { readonly tenant: string; readonly plan: Plan; readonly projectDirectory: string; readonly by: string }) => Answer<string>
    /** Form → pipeline source (`pipelineSource`) → planned in isolation → submitted. */
    readonly deploy: (request: { readonly tenant: string; readonly form: DeployForm; readonly by: string }) => Answer<{ readonly runId: string }>
    /** Newest first. */
    readonly runs: (tenant: string, limit: number) => Answer<ReadonlyArray<RunSummary>>
    /** Takes a full id, a unique prefix of at least four characters, or `latest`. */
    readonly run: (tenant: string, idOrPrefix: string) => Answer<Run>
    readonly events: (tenant: string, runId: string, after: number) => Answer<ReadonlyArray<StoredEvent>>
    /** What is there after `after`, then what comes; ends after RunEnded. */
    readonly follow: (tenant: string, runId: string, after: number) => Stream.Stream<StoredEvent, EngineError>
    /** In order of id, those with a greater id than `after`. */
    readonly samples: (tenant: string, runId: string, after: number, limit: number) => Answer<ReadonlyArray<SampleRow>>
    /** What is there after `after`, then what comes; never ends by itself. */
    readonly followSamples: (tenant: string, runId: string, after: number) => Stream.Stream<SampleRow, EngineError>
    /** Output of a step's newest job from `offset` bytes on, at most 256 KiB; without a step, of the run's newest job. Empty where there is none. */
    readonly logs: (tenant: string, runId: string, stepId: string | undefined, offset: number) => Answer<LogChunk>
    /** Idempotent. */
    readonly cancel: (tenant: string, runId: string, by: string) => Answer<void>
    /** Idempotent; `conflict` where the run has succeeded. */
    readonly resume: (tenant: string, runId: string, by: string) => Answer<void>
    readonly cost: (tenant: string, runId: string) => Answer<Cost>
    readonly rewards: (tenant: string, runId: string, node?: string) => Answer<Rewards>
    readonly endpoints: (tenant: string) => Answer<ReadonlyArray<EndpointView>>
    readonly stopEndpoint: (tenant: string, id: string) => Answer<void>
    /** The plain API key, for its owner. */
    readonly endpointKey: (tenant: string, id: string) => Answer<string>
    readonly models: (tenant: string) => Answer<Catalogue>
    readonly dashboard: (tenant: string) => Answer<Dashboard>
  }
>()("@hypernode/api/Engine") {}
