/** One migrated database for a test file: a private PostgreSQL in a temporary home (or `DATABASE_URL`). Set up by vitest hooks. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll } from "vitest"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { homeAt } from "../../src/Home.ts"
import { layer as databaseLayer } from "../../src/store/Database.ts"

export interface TestDatabase<R> {
  readonly run: <A, E>(effect: Effect.Effect<A, E, R | SqlClient>) => Promise<A>
  readonly home: () => string
}

export const testDatabase = <R, E>(layer: Layer.Layer<R, E, SqlClient>): TestDatabase<R> => {
  let root = ""
  let runtime: ManagedRuntime.ManagedRuntime<R | SqlClient, unknown>
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "hd-"))
    const home = homeAt(root, join(root, "cache"))
    const database = Layer.provide(databaseLayer, Layer.succeed(CurrentHome, home))
    runtime = ManagedRuntime.make(Layer.provideMerge(layer, database) as Layer.Layer<R | SqlClient, unknown>)
    await runtime.runPromise(Effect.void)
  })
  afterAll(async () => {
    await runtime?.dispose()
    await rm(root, { recursive: true, force: true })
  })
  return { run: (effect) => runtime.runPromise(effect), home: () => root }
}
