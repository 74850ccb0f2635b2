/**
 * The durable port in memory: step results memoised by id and passed through JSON, retries, events with time-outs, and crashes on
 * demand: `crash(stepId)` stops the workflow right after that step's body and before its result is recorded, once; `resume` enters it again.
 */
import { Effect, Layer } from "effect"
import { Durable, type DurableSteps, StepFailure, type WorkflowBody } from "../run/Durable.ts"

class Crashed extends Error {}

interface Instance {
  readonly results: Map<string, string>
  readonly done: Promise<void>
}

export class MemoryDurable {
  readonly #instances = new Map<string, Instance>()
  readonly #waits = new Set<{ readonly event: string; readonly match: Readonly<Record<string, string>>; readonly wake: (data: unknown) => void }>()
  readonly #crashes = new Set<string>()
  /** every step body that was entered, in order */
  readonly entered: Array<string> = []

  /** The next time this step's body has ended, its result is lost and the workflow entered anew. */
  crash(stepId: string): void {
    this.#crashes.add(stepId)
  }

  layer(body: WorkflowBody): Layer.Layer<Durable> {
    return Layer.succeed(
      Durable,
      Durable.of({
        executor: "memory",
        start: (id) => Effect.sync(() => this.#start(id, body)),
        send: (event, data) =>
          Effect.sync(() => {
            for (const wait of this.#waits) if (wait.event === event && Object.entries(wait.match).every(([k, v]) => data[k] === v)) wait.wake(data)
          }),
        cancel: () => Effect.void,
        settled: (id) => Effect.promise(() => this.#instances.get(id)?.done ?? Promise.resolve())
      })
    )
  }

  #start(id: string, body: WorkflowBody): void {
    if (this.#instances.has(id)) return
    const results = new Map<string, string>()
    const enter = async (): Promise<void> => {
      try {
        await body(id, this.#steps(results))
      } catch (error) {
        if (error instanceof Crashed) return enter()
        throw error
      }
    }
    this.#instances.set(id, { results, done: enter() })
  }

  #steps(results: Map<string, string>): DurableSteps {
    const memo = async <A>(id: string, make: () => Promise<A>): Promise<A> => {
      const before = results.get(id)
      if (before !== undefined) return (JSON.parse(before) as { value: A }).value
      const value = await make()
      if (this.#crashes.delete(id)) throw new Crashed(id)
      const text = JSON.stringify({ value })
      results.set(id, text)
      return (JSON.parse(text) as { value: A }).value
    }
    return {
      run: (id, body) =>
        memo(id, async () => {
          for (let attempt = 1; ; attempt++) {
            this.entered.push(id)
            try {
              return await body(attempt)
            } catch (error) {
              if (!(error instanceof StepFailure) || !error.retry || attempt >= 4) throw error
            }
          }
        }),
      sleep: (id) => memo(id, async () => undefined),
      waitForEvent: (id, { event, match, timeoutMillis }) =>
        memo(
          id,
          () =>
            new Promise((resolve) => {
              const timer = setTimeout(() => wait.wake(null), Math.min(timeoutMillis, 2_000))
              const wait = {
                event,
                match,
                wake: (data: unknown) => {
                  clearTimeout(timer)
                  this.#waits.delete(wait)
                  resolve(data)
                }
              }
              this.#waits.add(wait)
            })
        )
    }
  }
}
