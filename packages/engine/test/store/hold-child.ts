/** Opens the home's database, commits a row, says so, and stays until it is killed. node hold-child.ts <home> <cache> [fence] */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { homeAt } from "../../src/Home.ts"
import * as Database from "../../src/store/Database.ts"
import { Fence } from "../../src/store/Fence.ts"

const [root, cache, fence] = process.argv.slice(2) as [string, string, string | undefined]
const database = Layer.provide(Database.layer, Layer.succeed(CurrentHome, homeAt(root, cache)))
const hold = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS held (x int)`
  yield* sql`INSERT INTO held VALUES (1)`
  process.stdout.write("ready\n")
  return yield* Effect.never
})
await Effect.runPromise(fence === undefined ? Effect.provide(hold, database) : Effect.provide(hold, Layer.provideMerge(Fence.layer, database)))
