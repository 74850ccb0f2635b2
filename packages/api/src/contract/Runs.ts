/** Runs: the engine's fold as it is, and what belongs to one run. Live: `GET /api/v1/runs/:id/stream` (server-sent events). */
import { Plan } from "@hypernode/engine/plan/Plan"
import { Run } from "@hypernode/engine/run/Run"
import { StoredEvent } from "@hypernode/engine/run/RunEvent"
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { problems } from "./Problem.ts"
import { Cost, LogChunk, Rewards, RunSummary, SampleRow } from "./views.ts"

const id = { id: Schema.String }
const cursor = Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))
const limit = Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 10_000 }))

export class RunsGroup extends HttpApiGroup.make("runs")
  .add(
    HttpApiEndpoint.get("list", "/", { query: { limit: Schema.optionalKey(limit) }, success: Schema.Struct({ runs: Schema.Array(RunSummary) }), error: problems }),
    HttpApiEndpoint.get("get", "/:id", { params: id, success: Run, error: problems }),
    HttpApiEndpoint.post("submit", "/", {
      payload: Schema.Struct({ plan: Plan, projectDirectory: Schema.String }),
      success: Schema.Struct({ id: Schema.String }),
      error: problems
    }),
    HttpApiEndpoint.post("cancel", "/:id/cancel", { params: id, success: Schema.Struct({ id: Schema.String }), error: problems }),
    HttpApiEndpoint.post("resume", "/:id/resume", { params: id, success: Schema.Struct({ id: Schema.String }), error: problems }),
    HttpApiEndpoint.get("events", "/:id/events", {
      params: id,
      query: { after: Schema.optionalKey(cursor) },
      success: Schema.Struct({ events: Schema.Array(StoredEvent) }),
      error: problems
    }),
    HttpApiEndpoint.get("samples", "/:id/samples", {
      params: id,
      query: { after: Schema.optionalKey(cursor), limit: Schema.optionalKey(limit) },
      success: Schema.Struct({ samples: Schema.Array(SampleRow) }),
      error: problems
    }),
    HttpApiEndpoint.get("logs", "/:id/logs", {
      params: id,
      query: { step: Schema.optionalKey(Schema.String), offset: Schema.optionalKey(cursor) },
      success: LogChunk,
      error: problems
    }),
    HttpApiEndpoint.get("cost", "/:id/cost", { params: id, success: Cost, error: problems }),
    HttpApiEndpoint.get("rewards", "/:id/rewards", { params: id, query: { node: Schema.optionalKey(Schema.String) }, success: Rewards, error: problems })
  )
  .prefix("/api/v1/runs") {}
