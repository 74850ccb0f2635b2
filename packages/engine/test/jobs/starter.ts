/** A stand-in for the daemon, to be killed: starts one job in the home given, says so, and stays. */
import * as Effect from "effect/Effect"
import { Jobs } from "../../src/capability/Jobs.ts"
import { jobsIn, sh, spec } from "./withJobs.ts"

const [root = "", key = "", script = ""] = process.argv.slice(2)

await Effect.runPromise(
  Effect.gen(function*() {
    const jobs = yield* Jobs
    const handle = yield* jobs.start(key, { ...spec, command: sh(script) })
    process.stdout.write(`${JSON.stringify(handle)}\n`)
    yield* Effect.never
  }).pipe(Effect.provide(jobsIn(root)))
)
