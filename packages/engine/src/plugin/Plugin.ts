/**
 * What a plugin is. `index.ts` of a plugin folder exports the factory that pipeline files call (it returns a `Use`, plain JSON, and
 * imports nothing heavy); `plugin.ts` beside it default-exports `definePlugin(...)` with options schema and stage bodies, and is
 * loaded by the planner and the engine only. Vendor SDKs are imported inside stage bodies, on first use.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { JobHandle } from "../capability/Jobs.ts"
import type { StageError } from "../stage/StageError.ts"
import type { StageKind } from "../stage/StageKind.ts"
import type { StageServices } from "../stage/StageServices.ts"
import type { Kinds } from "../stage/kinds.ts"

export const CONTRACT_VERSION = 1

/** What a pipeline file says of a plugin. `specifier` is how to import the definition: a package subpath or a file URL. */
export interface Use<K extends string = StageKind, Options = unknown> {
  readonly kind: K
  readonly plugin: { readonly id: string; readonly specifier: string }
  readonly options: Options
}

export interface StageContext<Options, Input> {
  readonly tenant: string
  readonly runId: string
  readonly stepId: string
  /** from 1 */
  readonly attempt: number
  /** (run, step, attempt) */
  readonly jobKey: string
  /** (run, step) */
  readonly effectKey: string
  readonly pipeline: string
  /** sha256 of the run's plan: for labels, never for a result that is cached by content */
  readonly plan?: string
  readonly options: Options
  readonly input: Input
  /** directory of the pipeline file: relative paths in options start here */
  readonly projectDirectory: string
  /** of this home, mode 0700, empty at the first attempt; deleted when the step has ended */
  readonly scratch: string
  readonly home: string
  /** shared, per user, content-addressed */
  readonly cache: string
}

/** What `hyper plan` may say before anything runs. */
export interface PlanNote {
  readonly level: "info" | "warn" | "refuse"
  readonly message: string
  readonly remedy?: string
}

export interface Estimate {
  readonly seconds?: readonly [low: number, high: number]
  readonly dollars?: readonly [low: number, high: number]
  readonly downloadBytes?: number
  readonly notes: ReadonlyArray<PlanNote>
  /** outside this home: "starts an endpoint", "moves 100 HYPER into escrow" */
  readonly sideEffects: ReadonlyArray<string>
  readonly tools: ReadonlyArray<string>
  readonly hosts: ReadonlyArray<string>
}

/** Which steps may take an output that not every step can use. `message` and `remedy` are what a plan says where another one does. */
export interface Takers {
  readonly accepts: (kind: StageKind, plugin: string) => boolean
  readonly message: string
  readonly remedy: string
}

export interface ShortStage<Options, Input, Output> {
  readonly run: (context: StageContext<Options, Input>) => Effect.Effect<Output, StageError, StageServices>
}

/** Long work is a job, not a request: start is idempotent on the job key; a lost contact is not a death. */
export interface LongStage<Options, Input, Output> {
  readonly start: (context: StageContext<Options, Input>) => Effect.Effect<JobHandle, StageError, StageServices>
  readonly collect: (context: StageContext<Options, Input>, handle: JobHandle) => Effect.Effect<Output, StageError, StageServices>
  readonly cancel: (context: StageContext<Options, Input>, handle: JobHandle) => Effect.Effect<void, StageError, StageServices>
}

export interface StageDefinition<K extends StageKind = StageKind, Options = any> {
  readonly kind: K
  /** `pure`: cacheable by content. `external`: its effect lies outside; `alive` says whether a cached result still stands. */
  readonly effect: "pure" | "external"
  readonly options: Schema.Codec<Options, any>
  /** Part of the cache key beyond options and inputs: trainer and environment digests, a file's identity. Cheap. */
  readonly fingerprint?: (options: Options, context: { readonly projectDirectory: string }) => Effect.Effect<unknown, StageError>
  /** At plan time; must not start anything. */
  readonly estimate?: (options: Options, context: { readonly projectDirectory: string }) => Effect.Effect<Estimate>
  /** True when a cached output can still be used (keys not destroyed, endpoint lives). Default: pure → true, external → false. */
  readonly alive?: (output: Kinds[K]["output"], context: StageContext<Options, unknown>) => Effect.Effect<boolean, StageError, StageServices>
  /** Reward stages: called when the run starts, before any other stage. */
  readonly open?: (context: StageContext<Options, unknown>) => Effect.Effect<void, StageError, StageServices>
  /** Reward stages: called when the run ends without having reached this stage (failed, cancelled). */
  readonly close?: (context: StageContext<Options, unknown>) => Effect.Effect<Kinds[K]["output"] | undefined, StageError, StageServices>
  /** By output name (`model`), where it is not for every step that a wire could lead to. */
  readonly takers?: { readonly [output: string]: Takers }
  readonly attempts?: number
  readonly body: ShortStage<Options, Kinds[K]["input"], Kinds[K]["output"]> | LongStage<Options, Kinds[K]["input"], Kinds[K]["output"]>
}

export interface PluginDefinition {
  readonly id: string
  readonly version: string
  readonly contractVersion: typeof CONTRACT_VERSION
  readonly stages: { readonly [K in StageKind]?: StageDefinition<K> }
}

/** Typed constructor of one stage: ties options to their schema and input/output to the kind. */
export const stage = <K extends StageKind, Options>(definition: StageDefinition<K, Options>): StageDefinition<K> => definition as StageDefinition<K>

export const definePlugin = (definition: Omit<PluginDefinition, "contractVersion">): PluginDefinition => ({ ...definition, contractVersion: CONTRACT_VERSION })
