/** Planning and choosing: nothing here starts anything. */
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { DeployForm } from "./DeployForm.ts"
import { Needs } from "./Guard.ts"
import { problems } from "./Problem.ts"
import { Catalogue, PlanView } from "./views.ts"

export const PlanPayload = Schema.Struct({
  /** of a pipeline file on this machine: the home's owner only */
  path: Schema.optionalKey(Schema.String),
  /** text of a pipeline file */
  source: Schema.optionalKey(Schema.String),
  /** a New job form */
  form: Schema.optionalKey(DeployForm),
  projectDirectory: Schema.optionalKey(Schema.String),
  params: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})

export class PlanGroup extends HttpApiGroup.make("plan")
  .add(
    HttpApiEndpoint.post("plan", "/plan", { payload: PlanPayload, success: PlanView, error: problems }).annotate(Needs, "read"),
    HttpApiEndpoint.get("models", "/models", { success: Catalogue, error: problems })
  )
  .prefix("/api/v1") {}
