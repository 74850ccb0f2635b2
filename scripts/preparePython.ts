/** The Python environment that live tests train and serve with: HYPER_PYTHON, or the one the product itself makes on first use. */
import { homeFromEnv } from "../packages/engine/src/Home.ts"
import { Progress } from "../packages/engine/src/stage/Progress.ts"
import { pythonEnvironment } from "../packages/plugins/src/trainer/Environment.ts"
import { Effect, Exit, Layer } from "effect"

const printed = Layer.succeed(Progress, Progress.of({ log: (message) => Effect.sync(() => { process.stdout.write(`   ${message}\n`) }), report: () => Effect.void }))

export const preparePython = async (): Promise<string | undefined> => {
  const { cache } = homeFromEnv(process.env, process.cwd())
  process.stdout.write("\n── Python environment\n")
  const exit = await Effect.runPromiseExit(pythonEnvironment(cache).pipe(Effect.provide(printed)))
  if (Exit.isSuccess(exit)) return exit.value.python
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  process.stdout.write(`   ${failure?.message ?? "failed"}${failure?.remedy === undefined ? "" : `\n   ${failure.remedy}`}\n`)
  return undefined
}
