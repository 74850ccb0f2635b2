/** A pipeline file's plan: evaluated apart, then checked here. Starts nothing and writes nothing. */
import * as Effect from "effect/Effect"
import { realpathSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { Digest } from "../artifact/Digest.ts"
import type { RawIssue } from "../pipeline/RawPlan.ts"
import { ownPlugins, OWN_PACKAGE } from "../plugin/locate.ts"
import { didYouMean } from "../plugin/near.ts"
import type { RegistryOptions } from "../plugin/Registry.ts"
import { estimateSteps, type StepEstimate } from "./estimate.ts"
import { evaluate, type EvaluateOptions } from "./evaluate.ts"
import type { Evaluation } from "./evaluation.ts"
import type { Plan } from "./Plan.ts"
import { planError, type PlanError } from "./PlanError.ts"
import { makePlan, type PlannedStep } from "./Planner.ts"

export interface PlanFileOptions extends Omit<EvaluateOptions, "signal">, RegistryOptions {
  /** Started earlier with `evaluate`, so that it ran while the rest was loading. */
  readonly evaluation?: Promise<Evaluation>
  /** default true: ask each plugin what its step will cost */
  readonly estimate?: boolean
}

export interface PlannedFile {
  readonly plan: Plan
  readonly digest: Digest
  /** absolute, real: relative paths in options start here */
  readonly projectDirectory: string
  readonly steps: ReadonlyArray<PlannedStep>
  readonly estimates: ReadonlyArray<StepEstimate>
  readonly warnings: ReadonlyArray<string>
  /** what the file printed */
  readonly output: string
}

const nodeMajor = Number(process.versions.node.split(".")[0])

/** An import that leads nowhere, said in terms of plugins and packages. */
const unresolved = async (issue: RawIssue, projectDirectory: string): Promise<RawIssue> => {
  const own = /plugins[/\\](?:src|dist)[/\\]([^/\\'"]+)/.exec(issue.message)?.[1] ?? /@hypernode\/plugins\/([^/'"]+)/.exec(issue.message)?.[1]
  if (own !== undefined) return { ...issue, message: `there is no plugin ${OWN_PACKAGE}/${own}`, hint: didYouMean(own, await ownPlugins(projectDirectory), "plugins") }
  const name = /Cannot find package '([^']+)'/.exec(issue.message)?.[1]
  return { ...issue, hint: name === undefined ? "check the path of the import" : `npm install ${name} in the pipeline's project` }
}

export const planFile = Effect.fn("planFile")(function*(path: string, options: PlanFileOptions = {}): Effect.fn.Return<PlannedFile, PlanError> {
  const evaluation = yield* Effect.callback<Evaluation>((resume) => {
    const controller = new AbortController()
    void (options.evaluation ?? evaluate(path, { ...options, signal: controller.signal })).then((done) => resume(Effect.succeed(done)))
    return Effect.sync(() => controller.abort())
  })
  if (!evaluation.ok) {
    const issues = evaluation.reason === "Unresolved"
      ? yield* Effect.promise(() => Promise.all(evaluation.issues.map((issue) => unresolved(issue, dirname(resolve(path))))))
      : evaluation.issues
    return yield* planError(evaluation.reason, path, issues, evaluation.output)
  }
  const projectDirectory = dirname(realpathSync(resolve(path)))
  const planned = yield* makePlan(evaluation.raw, { file: path, projectDirectory, ...(options.allow === undefined ? {} : { allow: options.allow }) })
  const estimates = options.estimate === false ? [] : yield* estimateSteps(planned.steps, projectDirectory)
  const warnings = nodeMajor < 26 && options.isolation !== "server" ? [`Node ${process.versions.node} does not keep a pipeline file from the network; Node 26 does`] : []
  return { ...planned, projectDirectory, estimates, warnings, output: evaluation.output }
})
