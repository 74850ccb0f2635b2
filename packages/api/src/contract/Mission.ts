/** The four endpoints under the names they were specified with. Same engine, same forms, `job_id` = run id. */
import { RunState, StepState } from "@hypernode/engine/run/Run"
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { DeployForm } from "./DeployForm.ts"
import { problems } from "./Problem.ts"
import { Catalogue, Dashboard } from "./views.ts"

export const JobStatus = Schema.Struct({
  job_id: Schema.String,
  pipeline: Schema.String,
  status: RunState,
  /** the stage that runs or failed; absent before the first and after the last */
  stage: Schema.optionalKey(Schema.String),
  stages: Schema.Array(Schema.Struct({ id: Schema.String, kind: Schema.String, state: StepState })),
  progress: Schema.optionalKey(Schema.Struct({ label: Schema.String, done: Schema.Number, total: Schema.optionalKey(Schema.Number), unit: Schema.String })),
  error: Schema.optionalKey(Schema.Struct({ reason: Schema.String, message: Schema.String, remedy: Schema.optionalKey(Schema.String) })),
  endpoint: Schema.optionalKey(Schema.Struct({ id: Schema.String, url: Schema.String, model: Schema.String })),
  created_at: Schema.Int,
  ended_at: Schema.optionalKey(Schema.Int)
})
export type JobStatus = typeof JobStatus.Type

export class MissionGroup extends HttpApiGroup.make("mission")
  .add(
    HttpApiEndpoint.post("deployModel", "/deploy_model", {
      payload: DeployForm,
      success: Schema.Struct({ job_id: Schema.String, status_url: Schema.String, stream_url: Schema.String }),
      error: problems
    }),
    HttpApiEndpoint.get("listModels", "/list_models", { success: Catalogue, error: problems }),
    HttpApiEndpoint.get("getJobStatus", "/get_job_status", { query: { job_id: Schema.String }, success: JobStatus, error: problems }),
    HttpApiEndpoint.get("userDashboard", "/user_dashboard", { success: Dashboard, error: problems })
  )
  .prefix("/api") {}
