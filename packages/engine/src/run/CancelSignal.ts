/** Aborted when somebody cancels the run: stops a step's body, and not the recording of how it ended. */
import { Context, Effect } from "effect"

export const CancelSignal = Context.Reference<AbortSignal>("@hypernode/engine/run/CancelSignal", { defaultValue: () => new AbortController().signal })

export const untilCancelled = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(CancelSignal, (signal) =>
    Effect.raceFirst(
      body,
      Effect.callback<never>((resume) => {
        const stop = () => resume(Effect.interrupt)
        if (signal.aborted) return stop()
        signal.addEventListener("abort", stop, { once: true })
        return Effect.sync(() => signal.removeEventListener("abort", stop))
      })
    ))
