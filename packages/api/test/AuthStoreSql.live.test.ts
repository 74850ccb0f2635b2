/** The same promises over a real PostgreSQL of a throw-away home; and no secret in the clear in its tables. */
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import { layer as database, stopDatabase } from "@hypernode/engine/store/Database"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { AuthStore } from "../src/auth/AuthStore.ts"
import { AuthStoreSql } from "../src/auth/AuthStoreSql.ts"
import { authStoreSuite } from "./authStoreSuite.ts"

const root = mkdtempSync(join(tmpdir(), "ha-"))
const home = homeAt(join(root, "home"), join(root, "cache"))
const scope = Scope.makeUnsafe()
const context = await Effect.runPromise(Layer.buildWithScope(AuthStoreSql.pipe(Layer.provideMerge(database), Layer.provide(Layer.succeed(CurrentHome, home))), scope))

afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await Effect.runPromise(stopDatabase(home))
  rmSync(root, { recursive: true, force: true })
})

authStoreSuite("AuthStore in SQL", Layer.succeedContext(context) as Layer.Layer<AuthStore>)

describe("at rest", () => {
  it("there is no token that a thief of the tables could use", async () => {
    const made = await Effect.runPromise(
      Effect.gen(function*() {
        const store = yield* AuthStore
        const link = yield* store.createLink("acme", "owner")
        const other = yield* store.createLink("acme", "owner")
        const session = yield* store.redeem(link.token)
        const key = yield* store.createKey("acme", "ci", ["read"])
        const sql = yield* SqlClient
        const tables: Array<unknown> = [yield* sql`SELECT * FROM api_login_links`, yield* sql`SELECT * FROM api_sessions`, yield* sql`SELECT * FROM api_keys`]
        return { secrets: [link.token, other.token, session!.token, key.key], text: JSON.stringify(tables, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)), hint: key.hint }
      }).pipe(Effect.provide(context))
    )
    for (const secret of made.secrets) expect(made.text.includes(secret.slice(10))).toBe(false)
    // The search finds what is there: the key's hint.
    expect(made.text.includes(made.hint)).toBe(true)
  })
})
