/** Runs around every endpoint: the caller's scopes are enough, and what does not decode is answered in the one error shape. */
import * as Context from "effect/Context"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import type { Scope } from "./Caller.ts"
import { BadRequest, Forbidden, Internal } from "./Problem.ts"

export class Guard extends HttpApiMiddleware.Service<Guard>()("@hypernode/api/contract/Guard", {
  error: [BadRequest, Forbidden, Internal]
}) {}

/** Annotation of an endpoint. Without it: `read` for GET, `write` for everything else. */
export const Needs = Context.Reference<Scope | undefined>("@hypernode/api/contract/Needs", { defaultValue: () => undefined })
