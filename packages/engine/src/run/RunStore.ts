/** The event log and the step cache in SQL. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { RunEvent, StoredEvent } from "./RunEvent.ts"

export class RunNotFound extends Schema.TaggedError<RunNotFound>()("RunNotFound", { runId: Schema.String, message: Schema.String }) {}
export class RunStoreError extends Schema.TaggedError<RunStoreError>()("RunStoreError", { message: Schema.String }) {}

export class RunStore extends Context.Service<
  RunStore,
  {
    /** Appends in order, in one transaction; `once` (for example `ended:train`) makes a second append with the same key on the same run a no-op that returns the first event. */
    readonly append: (runId: string, event: RunEvent, options?: { readonly once?: string }) => Effect.Effect<StoredEvent, RunStoreError>
    readonly events: (runId: string, after?: number) => Effect.Effect<ReadonlyArray<StoredEvent>, RunNotFound | RunStoreError>
    /** What is there after `after`, then what comes; ends after RunEnded. */
    readonly follow: (runId: string, after?: number) => Stream.Stream<StoredEvent, RunNotFound | RunStoreError>
    readonly list: (tenant: string, limit?: number) => Effect.Effect<ReadonlyArray<string>, RunStoreError>
    /** Accepts a full id or a unique prefix of at least four characters, or `latest`. */
    readonly resolve: (tenant: string, idOrPrefix: string) => Effect.Effect<string, RunNotFound | RunStoreError>
    readonly unfinished: Effect.Effect<ReadonlyArray<string>, RunStoreError>
    readonly cacheGet: (tenant: string, cacheKey: string) => Effect.Effect<{ readonly output: unknown; readonly runId: string } | undefined, RunStoreError>
    readonly cachePut: (tenant: string, cacheKey: string, output: unknown, runId: string) => Effect.Effect<void, RunStoreError>
  }
>()("@hypernode/engine/run/RunStore") {}
