/** A process of its own that makes an environment, to be killed or to race with another: `node buildOnce.ts <link> <requirements>`. */
import * as Effect from "effect/Effect"
import { Progress } from "@hypernode/engine/stage/Progress"
import { ensureEnvironment } from "../../src/trainer/Environment.ts"
import { systemPython } from "../../src/trainer/SystemPython.ts"

const [link = "", requirementsFile = ""] = process.argv.slice(2)
const base = await systemPython()
const exit = await Effect.runPromise(
  Effect.result(ensureEnvironment({ link, base, requirementsFile, packages: 1 })).pipe(
    Effect.provideService(Progress, Progress.of({ log: (message) => Effect.sync(() => console.log(message)), report: () => Effect.void }))
  )
)
console.log(exit._tag === "Success" ? "made" : JSON.stringify(exit.failure))
process.exit(exit._tag === "Success" ? 0 : 1)
