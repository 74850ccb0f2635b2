/** How a stage reports that it is getting on. Lines reach the run's event log and so the CLI and the page. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

export class Progress extends Context.Service<
  Progress,
  {
    /** One human sentence, no secrets, no data rows. */
    readonly log: (message: string, level?: "info" | "warn") => Effect.Effect<void>
    /** `done` of `total` in `unit` (bytes, rows, files); throttled by the engine. */
    readonly report: (progress: { readonly done: number; readonly total?: number; readonly unit: string; readonly label: string }) => Effect.Effect<void>
  }
>()("@hypernode/engine/stage/Progress") {}
