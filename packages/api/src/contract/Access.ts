/** Who am I, and how others get in. Login itself (`POST /api/v1/login`) comes before there is a caller and is described in http/login.ts. */
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import { Scope } from "./Caller.ts"
import { Needs } from "./Guard.ts"
import { problems } from "./Problem.ts"
import { Info } from "./views.ts"

export const Me = Schema.Struct({ tenant: Schema.String, by: Schema.String, scopes: Schema.Array(Scope), owner: Schema.Boolean, ...Info.fields })
export type Me = typeof Me.Type

export const KeyView = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  /** first characters, to recognise it by */
  hint: Schema.String,
  scopes: Schema.Array(Scope),
  createdAt: Schema.Int,
  lastUsedAt: Schema.NullOr(Schema.Int)
})
export type KeyView = typeof KeyView.Type

export class AccessGroup extends HttpApiGroup.make("access")
  .add(
    HttpApiEndpoint.get("me", "/me", { success: Me, error: problems }),
    /** A one-time login token, valid for ten minutes: `<page>/login#<token>`. */
    HttpApiEndpoint.post("loginLink", "/login-links", {
      success: Schema.Struct({ token: Schema.String, expiresAt: Schema.Int }),
      error: problems
    }).annotate(Needs, "admin"),
    HttpApiEndpoint.get("keys", "/keys", { success: Schema.Struct({ keys: Schema.Array(KeyView) }), error: problems }).annotate(Needs, "admin"),
    /** `key` is shown once. */
    HttpApiEndpoint.post("createKey", "/keys", {
      payload: Schema.Struct({ name: Schema.String.check(Schema.isBetweenLength(1, 64)), scopes: Schema.Array(Scope).check(Schema.isMinLength(1)) }),
      success: Schema.Struct({ ...KeyView.fields, key: Schema.String }),
      error: problems
    }).annotate(Needs, "admin"),
    HttpApiEndpoint.post("revokeKey", "/keys/:id/revoke", { params: { id: Schema.String }, success: Schema.Struct({ id: Schema.String }), error: problems }).annotate(Needs, "admin")
  )
  .prefix("/api/v1") {}

export class HealthGroup extends HttpApiGroup.make("health").add(
  HttpApiEndpoint.get("health", "/api/v1/health", { success: Schema.Struct({ status: Schema.Literal("ok"), ...Info.fields }), error: problems })
) {}
