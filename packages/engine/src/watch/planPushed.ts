/**
 * From one pipeline file of an exported commit to a verdict: it does not plan, it is refused, it is planned only, or it may run. The file
 * is evaluated confined; nothing that the policy does not permit is loaded or looked at.
 */
import * as Effect from "effect/Effect"
import { dirname, join, relative } from "node:path"
import { printable } from "../git/printable.ts"
import { estimateSteps } from "../plan/estimate.ts"
import { evaluate, type Isolation } from "../plan/evaluate.ts"
import type { Evaluation } from "../plan/evaluation.ts"
import type { Plan } from "../plan/Plan.ts"
import { planFile } from "../plan/planFile.ts"
import type { PlanError } from "../plan/PlanError.ts"
import { estimateRefusals, mayRun, planRefusals, pluginRefusals, type Refusal } from "./judge.ts"
import type { Policy } from "./Policy.ts"

export type Verdict =
  | { readonly state: "unplannable"; readonly message: string; readonly remedy: string }
  | { readonly state: "refused"; readonly message: string; readonly remedy: string }
  | { readonly state: "planned"; readonly planDigest: string; readonly message: string }
  | { readonly state: "ready"; readonly planDigest: string; readonly plan: Plan; readonly projectDirectory: string }

const MAX_LINES = 12

/** Paths as the repository has them, line by line, without what a terminal would obey. */
const shown = (text: string, tree: string): string => text.replaceAll(`${tree}/`, "").replaceAll(`${relative(process.cwd(), tree)}/`, "").split("\n").slice(0, MAX_LINES).map((line) => printable(line, 400)).filter((line) => line !== "").join("\n")

const refused = (refusals: ReadonlyArray<Refusal>, tree: string): Verdict => ({
  state: "refused",
  message: refusals.map(({ message }) => shown(message, tree)).join("\n"),
  remedy: [...new Set(refusals.map(({ remedy }) => shown(remedy, tree)))].join("\n")
})

/** `tree`: the exported repository; `file`: in it. */
export const planPushed = Effect.fn("watch.planPushed")(function* (tree: string, file: string, policy: Policy, isolation: Isolation): Effect.fn.Return<Verdict> {
  const path = join(tree, file)
  const evaluation = yield* Effect.callback<Evaluation>((resume) => {
    const controller = new AbortController()
    void evaluate(path, { isolation, params: policy.params, signal: controller.signal }).then((done) => resume(Effect.succeed(done)))
    return Effect.sync(() => controller.abort())
  })
  if (evaluation.ok) {
    const { raw } = evaluation
    const denied = yield* Effect.promise(() => pluginRefusals(raw, dirname(path), tree, policy))
    if (denied.length > 0) return refused(denied, tree)
  }
  const planned = yield* Effect.result(planFile(path, { evaluation: Promise.resolve(evaluation), isolation, allow: policy.plugins, estimate: false }))
  if (planned._tag === "Failure") {
    const error: PlanError = planned.failure
    return { state: "unplannable", message: shown(error.message, tree), remedy: `correct the file and push again; on your own machine: hyper plan ${printable(file)}` }
  }
  const { digest, plan, projectDirectory, steps } = planned.success
  const outside = planRefusals(plan, projectDirectory, tree, policy, isolation === "server")
  if (outside.length > 0) return refused(outside, tree)
  const lacking = estimateRefusals(yield* estimateSteps(steps, projectDirectory), policy)
  if (lacking.length > 0) return refused(lacking, tree)
  const only = mayRun(file, policy)
  return only === undefined ? { state: "ready", planDigest: digest, plan, projectDirectory } : { state: "planned", planDigest: digest, message: only }
})
