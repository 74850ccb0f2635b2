/** The plan that a pipeline was last run with, kept as a file so that `hyper plan` can say what changed since without a database. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Home } from "@hypernode/engine/Home"
import type { Plan } from "@hypernode/engine/plan/Plan"

interface LastPlan {
  readonly runId: string
  readonly plan: Plan
}

const pathOf = (home: Home, tenant: string, pipeline: string): string => join(home.root, "plans", encodeURIComponent(tenant), `${encodeURIComponent(pipeline)}.json`)

export const noteLastPlan = (home: Home, tenant: string, last: LastPlan): void => {
  const path = pathOf(home, tenant, last.plan.pipeline)
  mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.new`, JSON.stringify(last), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export const lastPlan = (home: Home, tenant: string, pipeline: string): LastPlan | undefined => {
  try {
    return JSON.parse(readFileSync(pathOf(home, tenant, pipeline), "utf8")) as LastPlan
  } catch {
    return undefined
  }
}
