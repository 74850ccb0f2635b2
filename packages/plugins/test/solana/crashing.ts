/** Ends a pass at its n-th point, as a crash does: a defect that nothing catches, and whatever transaction was open is rolled back. */
import type { PayoutRail } from "@hypernode/engine/rewards/payouts/PayoutRail"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"

/**
 * Every SQL statement and every commit is two points (before it is sent, after its answer came), and so is every call of the rail.
 * `at` 0: never.
 */
export class Crash {
  points = 0
  readonly at: number
  readonly end: Effect.Effect<never>
  constructor(at: number, end: Effect.Effect<never> = Effect.die("crash")) {
    this.at = at
    this.end = end
  }

  readonly #point = Effect.suspend(() => (++this.points === this.at ? this.end : Effect.void))
  around<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.andThen(this.#point, Effect.tap(effect, () => this.#point))
  }

  sql(sql: SqlClient): SqlClient {
    return new Proxy(sql, {
      apply: (target, self, parameters) => {
        const statement = Reflect.apply(target as never, self, parameters) as Effect.Effect<unknown>
        return this.around(statement)
      },
      get: (target, key) =>
        key !== "withTransaction" ? Reflect.get(target, key) : (effect: Effect.Effect<unknown>) => Effect.tap(target.withTransaction(effect), () => this.#point)
    })
  }

  rail(rail: PayoutRail): PayoutRail {
    return {
      ...rail,
      checkAddress: (address) => this.around(rail.checkAddress(address)),
      sign: (order) => this.around(rail.sign(order)),
      send: (payment) => this.around(rail.send(payment)),
      fate: (payment) => this.around(rail.fate(payment))
    }
  }
}
