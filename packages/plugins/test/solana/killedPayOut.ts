/** Program of the kill test: pays out once, and kills itself at point `at` (crashing.ts). Arguments: home of the database, home of the settings, at. */
import { layer as outboxLayer } from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import { payOut } from "@hypernode/engine/rewards/payouts/payOut"
import { layer as databaseLayer } from "@hypernode/engine/store/Database"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { openRail } from "../../src/solana/payouts.ts"
import { Crash } from "./crashing.ts"

const [root = "", settings = "", at = "0"] = process.argv.slice(2)
const crash = new Crash(Number(at), Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL")), Effect.never))
const database = Layer.provide(databaseLayer, Layer.succeed(CurrentHome, homeAt(root, `${root}/cache`)))
const outbox = Layer.provide(outboxLayer, Layer.provide(Layer.effect(SqlClient, Effect.map(SqlClient, (sql) => crash.sql(sql))), database))
await Effect.runPromise(Effect.flatMap(openRail(settings), (rail) => payOut({ ...crash.rail(rail), pause: 0 }, 30_000)).pipe(Effect.provide(outbox)))
