/** Append-only store of signed batches, exactly once by (job, node, sequence); the Runner ingests a job's `batches.jsonl` into it. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Sample, SignedBatch } from "./Sample.ts"

export class TelemetryError extends Schema.TaggedError<TelemetryError>()("TelemetryError", {
  message: Schema.String,
  /** what is wrong with the batch; absent where the store itself failed */
  reason: Schema.optionalKey(Schema.Literals(["malformed", "digest", "signature", "gap", "fork"])),
  remedy: Schema.optionalKey(Schema.String)
}) {}

export class TelemetryStore extends Context.Service<
  TelemetryStore,
  {
    /** Verifies signature and chain, then stores. A duplicate changes nothing; a fork or a gap is an error that names it. */
    readonly append: (runId: string, stepId: string, batch: SignedBatch) => Effect.Effect<void, TelemetryError>
    /**
     * Reads new complete lines of `<directory>/batches.jsonl` (offset remembered in SQL) and appends them; returns the new samples. A line
     * that does not hold is recorded with its reason and passed over: it is not paid, and it does not stop the run.
     */
    readonly ingest: (runId: string, stepId: string, directory: string) => Effect.Effect<ReadonlyArray<Sample>, TelemetryError>
    readonly samples: (runId: string, options?: { readonly stepId?: string; readonly after?: number; readonly limit?: number }) => Effect.Effect<ReadonlyArray<Sample & { readonly id: number; readonly stepId: string; readonly node: string }>, TelemetryError>
    readonly batches: (runId: string) => Effect.Effect<ReadonlyArray<SignedBatch>, TelemetryError>
  }
>()("@hypernode/engine/telemetry/TelemetryStore") {}
