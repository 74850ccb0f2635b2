/** Live endpoints. Chat goes through `POST /api/v1/endpoints/:id/chat`, which streams and so is not described here. */
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { Needs } from "./Guard.ts"
import { problems } from "./Problem.ts"
import { EndpointView } from "./views.ts"

const id = { id: Schema.String }

export class EndpointsGroup extends HttpApiGroup.make("endpoints")
  .add(
    HttpApiEndpoint.get("list", "/", { success: Schema.Struct({ endpoints: Schema.Array(EndpointView) }), error: problems }),
    HttpApiEndpoint.post("stop", "/:id/stop", { params: id, success: Schema.Struct({ id: Schema.String }), error: problems }).annotate(Needs, "admin"),
    /** The key in plain: asked for by a person who is about to copy it. */
    HttpApiEndpoint.post("key", "/:id/key", { params: id, success: Schema.Struct({ key: Schema.String }), error: problems }).annotate(Needs, "admin")
  )
  .prefix("/api/v1/endpoints") {}
