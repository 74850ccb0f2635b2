/** The default `Durable`: no server, our own store. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { Durable, type DurableError, type WorkflowBody } from "../run/Durable.ts"
import { Fence } from "../store/Fence.ts"
import { defaultOptions, type ExecutorOptions, makeExecutor } from "./embedded/Executor.ts"

/** Takes up everything unfinished when it is built. Needs a migrated database and to be its owner. */
export const embeddedDurable = (body: WorkflowBody, options: Partial<ExecutorOptions> = {}): Layer.Layer<Durable, DurableError, SqlClient | Fence> =>
  Layer.effect(
    Durable,
    Effect.gen(function* () {
      const { epoch } = yield* Fence
      return yield* makeExecutor(yield* SqlClient, epoch, body, { ...defaultOptions, ...options })
    })
  )
