/** A plan with what is cached and why, estimates and warnings: what `hyper plan`, `POST /api/v1/plan` and the page show. */
import type { PlanRequest } from "@hypernode/api/Engine"
import type { PlanView } from "@hypernode/api/contract/views"
import type { Home } from "@hypernode/engine/Home"
import { estimateSteps } from "@hypernode/engine/plan/estimate"
import type { Evaluation } from "@hypernode/engine/plan/evaluation"
import { explain } from "@hypernode/engine/plan/explain"
import { planFile } from "@hypernode/engine/plan/planFile"
import type { Estimate } from "@hypernode/engine/plugin/Plugin"
import { blobsStand } from "@hypernode/engine/run/blobsStand"
import { peekCached } from "@hypernode/engine/run/StepCache"
import * as Effect from "effect/Effect"
import { lastPlan } from "./lastPlan.ts"
import { sourceFile } from "./sourceFile.ts"

const withoutNotes = (estimate: Estimate): Omit<Estimate, "notes"> => {
  const { notes, ...rest } = estimate
  void notes
  return rest
}

export const planView = Effect.fn("planView")(function*(home: Home, request: PlanRequest, evaluation?: Promise<Evaluation>) {
  const path = request.path ?? sourceFile(home, request.source ?? "")
  const planned = yield* planFile(path, { params: request.params, estimate: false, cacheDirectory: home.cache, ...(evaluation === undefined ? {} : { evaluation }) })
  const projectDirectory = request.path === undefined ? (request.projectDirectory ?? planned.projectDirectory) : planned.projectDirectory
  const previous = lastPlan(home, request.tenant, planned.plan.pipeline)
  // estimates first: they wait for other processes, which run while this one looks into the cache
  const [estimates, steps] = yield* Effect.all(
    [
      estimateSteps(planned.steps, projectDirectory),
      explain(planned.steps, {
        tenant: request.tenant,
        projectDirectory,
        lookup: (key) => Effect.sync(() => peekCached(home, request.tenant, key)),
        stands: (output) => blobsStand(home, output),
        ...(previous === undefined ? {} : { previous })
      })
    ],
    { concurrency: "unbounded" }
  )
  return {
    plan: planned.plan,
    digest: planned.digest,
    steps: steps.map(({ cached, id, why }) => ({ id, cached, why })),
    estimates: Object.fromEntries(estimates.map(({ estimate, step }) => [step, withoutNotes(estimate)])),
    warnings: [
      ...planned.warnings.map((message) => ({ level: "warn" as const, message })),
      ...(planned.output.trim() === "" ? [] : [{ level: "info" as const, message: `the file printed: ${planned.output.trim()}` }]),
      ...estimates.flatMap(({ estimate, step }) => estimate.notes.map((note) => ({ ...note, step })))
    ]
  } satisfies PlanView
})
