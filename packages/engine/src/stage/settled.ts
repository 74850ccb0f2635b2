/** A promise with an abort signal as an effect: interruption waits until connection and file are let go. */
import * as Effect from "effect/Effect"

export const settled = <A, E>(call: (signal: AbortSignal) => Promise<A>, failure: (cause: unknown) => E): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    const controller = new AbortController()
    const done = call(controller.signal).then(
      (value) => resume(Effect.succeed(value)),
      (cause: unknown) => resume(Effect.fail(failure(cause)))
    )
    return Effect.promise(() => {
      controller.abort()
      return done
    })
  })
