/** A run as `GET /api/get_job_status` shows it. */
import type { Run } from "@hypernode/engine/run/Run"
import { Endpoint } from "@hypernode/engine/stage/values"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { JobStatus } from "../contract/Mission.ts"

const endpointOf = Schema.decodeUnknownOption(Endpoint)

export const jobStatus = (run: Run): JobStatus => {
  const current = run.steps.find((step) => step.state === "failed") ?? run.steps.find((step) => step.state === "running")
  const served = run.steps.filter((step) => step.kind === "serve" && step.output !== undefined).map((step) => endpointOf(step.output)).find(Option.isSome)
  return {
    job_id: run.id,
    pipeline: run.pipeline,
    status: run.state,
    ...(current === undefined ? {} : { stage: current.id }),
    stages: run.steps.map(({ id, kind, state }) => ({ id, kind, state })),
    ...(current?.progress === undefined ? {} : { progress: current.progress }),
    ...(current?.error === undefined ? {} : { error: current.error }),
    ...(served === undefined ? {} : { endpoint: { id: served.value.id, url: served.value.url, model: served.value.model } }),
    created_at: run.createdAt,
    ...(run.endedAt === undefined ? {} : { ended_at: run.endedAt })
  }
}
