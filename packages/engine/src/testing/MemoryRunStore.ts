/** A RunStore in memory: for tests of what stands on the port. Events go through JSON, as they would through SQL. */
import { Effect, Layer, PubSub, Stream } from "effect"
import type { StoredEvent } from "../run/RunEvent.ts"
import { RunNotFound, RunStore } from "../run/RunStore.ts"

interface Log {
  readonly tenant: string
  readonly events: Array<StoredEvent>
  readonly once: Map<string, StoredEvent>
}

export const MemoryRunStore: Layer.Layer<RunStore> = Layer.effect(
  RunStore,
  Effect.gen(function*() {
    const runs = new Map<string, Log>()
    const cache = new Map<string, { readonly output: unknown; readonly runId: string }>()
    const changes = yield* PubSub.unbounded<StoredEvent>()
    const missing = (runId: string) => new RunNotFound({ runId, message: `there is no run ${runId}` })
    const read = (runId: string, after = 0) =>
      Effect.suspend(() => {
        const run = runs.get(runId)
        return run === undefined ? Effect.fail(missing(runId)) : Effect.succeed(run.events.filter((e) => e.seq > after))
      })
    return RunStore.of({
      append: (runId, event, options) =>
        Effect.suspend(() => {
          const run: Log = runs.get(runId) ?? { tenant: event._tag === "RunQueued" ? event.tenant : "", events: [], once: new Map() }
          runs.set(runId, run)
          const before = options?.once === undefined ? undefined : run.once.get(options.once)
          if (before !== undefined) return Effect.succeed(before)
          const stored: StoredEvent = { runId, seq: run.events.length + 1, at: Date.now(), event: JSON.parse(JSON.stringify(event)) }
          run.events.push(stored)
          if (options?.once !== undefined) run.once.set(options.once, stored)
          return Effect.as(PubSub.publish(changes, stored), stored)
        }),
      events: read,
      follow: (runId, after = 0) => {
        let seen = after
        return Stream.unwrap(
          Effect.gen(function*() {
            const queue = yield* PubSub.subscribe(changes)
            const past = yield* read(runId, after)
            return Stream.concat(Stream.fromIterable<StoredEvent>(past), Stream.fromSubscription(queue))
          })
        ).pipe(
          Stream.filter((e) => e.runId === runId && e.seq > seen),
          Stream.tap((e) => Effect.sync(() => { seen = e.seq })),
          Stream.takeUntil((e) => e.event._tag === "RunEnded")
        )
      },
      list: (tenant, limit = 100) => Effect.sync(() => [...runs].filter(([, r]) => r.tenant === tenant).map(([id]) => id).toReversed().slice(0, limit)),
      resolve: (_tenant, id) => Effect.suspend(() => (runs.has(id) ? Effect.succeed(id) : Effect.fail(missing(id)))),
      unfinished: Effect.sync(() => [...runs].filter(([, r]) => r.events.findLast((e) => e.event._tag === "RunEnded" || e.event._tag === "RunResumed")?.event._tag !== "RunEnded").map(([id]) => id)),
      cacheGet: (tenant, key) => Effect.sync(() => cache.get(`${tenant} ${key}`)),
      cachePut: (tenant, key, output, runId) => Effect.sync(() => { cache.set(`${tenant} ${key}`, { output: JSON.parse(JSON.stringify(output)), runId }) })
    })
  })
)
