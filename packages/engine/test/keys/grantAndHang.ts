/** A daemon to be killed: grants on the home named in argv, prints where, and stays. */
import * as Effect from "effect/Effect"
import { homeAt } from "../../src/Home.ts"
import * as FileLeases from "../../src/keys/FileLeases.ts"
import { grantOf, sealShards, services } from "./leaseFixture.ts"

const home = homeAt(process.argv[2]!, process.argv[3]!)
await Effect.runPromise(
  Effect.gen(function*() {
    const leases = yield* FileLeases.make(home)
    const shards = yield* sealShards
    const granted = yield* leases.grant(grantOf(shards))
    console.log(JSON.stringify({ ...granted, shards }))
    return yield* Effect.never
  }).pipe(Effect.scoped, Effect.provide(services(home)))
)
