/** Another private server with the very settings of ours, for DBOS; says where its socket is and stops when its input ends. node database.ts <home> */
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import * as Database from "@hypernode/engine/store/Database"
import { PgClient } from "@effect/sql-pg/PgClient"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { dirname } from "node:path"

const root = process.argv[2]!
const runtime = ManagedRuntime.make(Layer.provide(Database.layer, Layer.succeed(CurrentHome, homeAt(root, `${root}-cache`))))
const { config } = await runtime.runPromise(PgClient)
process.stdout.write(`postgresql://${config.username}@localhost/bench?host=${encodeURIComponent(dirname(config.path!))}\n`)
for await (const _ of process.stdin) continue
await runtime.dispose()
