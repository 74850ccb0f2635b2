/** One migrated database for a suite, set up by vitest's hooks: the home's private PostgreSQL, or Debian's by `DATABASE_URL`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll } from "vitest"
import { databaseAt, debianServer, freshHome, noDebian, removeHome } from "../store/databases.ts"

export interface TestDatabase<R> {
  readonly run: <A, E>(effect: Effect.Effect<A, E, R | SqlClient>) => Promise<A>
  /** a directory of this suite */
  readonly home: () => string
}

const missing = noDebian()
if (missing !== undefined) console.warn(`skipped on the second database: ${missing}`)

export const databases: ReadonlyArray<"private" | "debian"> = missing === undefined ? ["private", "debian"] : ["private"]

export const testDatabase = <R, E>(layer: Layer.Layer<R, E, SqlClient>, which: "private" | "debian" = "private"): TestDatabase<R> => {
  const home = freshHome()
  let stop = () => Promise.resolve()
  let runtime: ManagedRuntime.ManagedRuntime<R | SqlClient, unknown>
  beforeAll(async () => {
    let url = ""
    if (which === "debian") {
      const server = await debianServer()
      url = server.url
      stop = server.stop
    }
    runtime = ManagedRuntime.make(Layer.provideMerge(Layer.fresh(layer), databaseAt(home, url)) as Layer.Layer<R | SqlClient, unknown>)
    await runtime.runPromise(Effect.void)
  })
  afterAll(async () => {
    await runtime?.dispose()
    await stop()
    await removeHome(home)
  })
  return { run: (effect) => runtime.runPromise(effect), home: () => home.root }
}
