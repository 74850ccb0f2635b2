/**
 * Program of the kill test: opens and settles one pool in a home, and kills itself at statement `at` (before it is sent, or after its
 * answer came). Arguments: home, terms as JSON, at, "before" | "after". Prints how many statements there were.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { homeAt } from "../../src/Home.ts"
import { Ledger } from "../../src/rewards/Ledger.ts"
import { layer as ledgerLayer } from "../../src/rewards/SqlLedger.ts"
import { layer as databaseLayer } from "../../src/store/Database.ts"

const [root = "", json = "{}", at = "0", when = "before"] = process.argv.slice(2)
let statements = 0
const die = Effect.sync(() => process.kill(process.pid, "SIGKILL"))

const counted = (sql: SqlClient): SqlClient =>
  new Proxy(sql, {
    apply: (target, self, parameters) => {
      const statement = Reflect.apply(target as never, self, parameters) as Effect.Effect<unknown>
      return Effect.suspend(() => {
        statements++
        if (statements !== Number(at)) return statement
        return when === "before" ? Effect.andThen(die, Effect.never) : Effect.tap(statement, () => Effect.andThen(die, Effect.never))
      })
    },
    // the commit counts too
    get: (target, key) =>
      key !== "withTransaction" ? Reflect.get(target, key) : (effect: Effect.Effect<unknown>) => Effect.tap(target.withTransaction(effect), () => {
        statements++
        return statements === Number(at) ? Effect.andThen(die, Effect.never) : Effect.void
      })
  })

const terms = { ...JSON.parse(json), units: BigInt(JSON.parse(json).units) }
const database = Layer.provide(databaseLayer, Layer.succeed(CurrentHome, homeAt(root, `${root}/cache`)))
const killing = Layer.effect(SqlClient, Effect.map(SqlClient, counted))
const program = Effect.gen(function*() {
  const ledger = yield* Ledger
  yield* ledger.openEscrow(terms)
  yield* ledger.settle(terms)
}).pipe(Effect.provide(Layer.provide(ledgerLayer, Layer.provide(killing, database))))
await Effect.runPromise(program)
process.stdout.write(`${statements}\n`)
