/** An embedded executor over a private database, as one daemon has it. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { SqlClient } from "effect/sql/SqlClient"
import type { ExecutorOptions } from "../../src/durable/embedded/Executor.ts"
import { embeddedDurable } from "../../src/durable/EmbeddedDurable.ts"
import type { Home } from "../../src/Home.ts"
import { Durable, type DurableSteps, type WorkflowBody } from "../../src/run/Durable.ts"
import { Fence } from "../../src/store/Fence.ts"
import { databaseAt } from "../store/databases.ts"

export const daemon = (home: Home, body: WorkflowBody, options: Partial<ExecutorOptions> = {}, url = "") => {
  const fence = Layer.provideMerge(Layer.fresh(Fence.layer), databaseAt(home, url))
  const runtime = ManagedRuntime.make(Layer.provideMerge(Layer.fresh(embeddedDurable(body, { backOffMillis: 10, ...options })), fence))
  const durable = <A, E>(use: (d: Durable["Service"]) => Effect.Effect<A, E>): Promise<A> => runtime.runPromise(Durable.use(use) as Effect.Effect<A, E, Durable>)
  return {
    runtime,
    start: (id: string) => durable((d) => d.start(id)),
    send: (event: string, data: Record<string, string>) => durable((d) => d.send(event, data)),
    cancel: (id: string) => durable((d) => d.cancel(id)),
    settled: (id: string) => durable((d) => d.settled(id)),
    sql: <A>(use: (sql: SqlClient) => Effect.Effect<A, unknown>): Promise<A> => runtime.runPromise(SqlClient.use(use) as Effect.Effect<A, unknown, SqlClient>),
    close: () => runtime.dispose()
  }
}

export type Daemon = ReturnType<typeof daemon>

/** One daemon for a whole file: each run id brings its own body. */
export const switchboard = () => {
  const bodies = new Map<string, (steps: DurableSteps) => Promise<void>>()
  const body: WorkflowBody = async (runId, steps) => {
    const own = bodies.get(runId)
    if (own === undefined) throw new Error(`no body for ${runId}`)
    await own(steps)
  }
  return { body, bodies }
}
