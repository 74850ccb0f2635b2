/**
 * The port between the Runner and what schedules it. One Inngest function runs every plan; either a real Inngest server or the
 * embedded executor drives it. The function body is re-entered: only `step` bodies run once (at least once, if a crash falls between
 * a body's end and its record), so the Runner is deterministic and does nothing outside steps.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export class DurableError extends Schema.TaggedError<DurableError>()("DurableError", { message: Schema.String }) {}

/** What a step body throws to say how the durable layer should go on. */
export class StepFailure extends Error {
  readonly retry: boolean
  /** seconds */
  readonly retryAfter: number | undefined
  constructor(message: string, options: { readonly retry: boolean; readonly retryAfter?: number }) {
    super(message)
    this.retry = options.retry
    this.retryAfter = options.retryAfter
  }
}

/** Handed to the workflow body. Promises, because the body lives inside the Inngest SDK. All results are JSON. */
export interface DurableSteps {
  /** `attempt` is from 1. Failures are retried by the durable layer up to the function's attempts, with back-off. */
  readonly run: <A>(id: string, body: (attempt: number) => Promise<A>) => Promise<A>
  readonly sleep: (id: string, milliseconds: number) => Promise<void>
  /** The event's data, or null after the time-out. `match`: equality on fields of the event's data. */
  readonly waitForEvent: (id: string, options: { readonly event: string; readonly match: Readonly<Record<string, string>>; readonly timeoutMillis: number }) => Promise<unknown | null>
}

export type WorkflowBody = (runId: string, steps: DurableSteps) => Promise<void>

export class Durable extends Context.Service<
  Durable,
  {
    /** "embedded" or the server's URL: shown to the user. */
    readonly executor: string
    /** Idempotent on `runId`. */
    readonly start: (runId: string) => Effect.Effect<void, DurableError>
    readonly send: (event: string, data: Readonly<Record<string, string>>) => Effect.Effect<void, DurableError>
    /** The workflow is not entered again; a step body that is running is left to end. */
    readonly cancel: (runId: string) => Effect.Effect<void, DurableError>
    /** Completes when the workflow function has ended (any outcome). */
    readonly settled: (runId: string) => Effect.Effect<void, DurableError>
  }
>()("@hypernode/engine/run/Durable") {}
