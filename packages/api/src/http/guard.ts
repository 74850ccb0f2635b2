/** Implementation of the contract's Guard: scopes, and one error shape for what does not decode and for what should not happen. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SchemaIssue from "effect/SchemaIssue"
import type { unhandled } from "effect/Types"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import { Caller } from "../contract/Caller.ts"
import { Guard, Needs } from "../contract/Guard.ts"
import { type BadRequest, Forbidden, Internal } from "../contract/Problem.ts"
import { invalidRequest, problemBody } from "./problem.ts"

const issues = SchemaIssue.makeFormatterStandardSchemaV1()

/** `epochs: Epochs is a number from 0.01 to 1000`. Names places and expectations, never the values sent. */
const sentence = (error: HttpApiSchemaError): string => {
  const parts = issues(error.cause.issue).issues.slice(0, 5).map(({ message, path }) => {
    const place = (path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")
    const expectation = message.split("\n")[0]?.replace(/, got .*$/s, "") ?? "is not valid"
    return place === "" ? expectation : `${place}: ${expectation}`
  })
  return parts.join("; ")
}

export const GuardLive = Layer.succeed(
  Guard,
  Effect.fnUntraced(function*(handle, { endpoint }) {
    const caller = yield* Caller
    const need = Context.get(endpoint.annotations, Needs) ?? (endpoint.method === "GET" ? "read" : "write")
    if (!caller.scopes.includes(need)) {
      return yield* new Forbidden({
        error: problemBody(caller.requestId, "scope_missing", `This needs the scope "${need}"; ${caller.by} has ${caller.scopes.join(", ")}`, "Make a key with that scope, or log in")
      })
    }
    return yield* handle.pipe(
      Effect.catch((error): Effect.Effect<never, unhandled | BadRequest | Internal> =>
        !HttpApiSchemaError.is(error)
          ? Effect.fail(error)
          : error.kind === "Body" || error.kind === "ResponseHeaders"
          ? Effect.andThen(Effect.logError(`${caller.requestId}: an answer does not fit its schema: ${sentence(error)}`), unexpected(caller.requestId))
          : Effect.fail(invalidRequest(caller.requestId, sentence(error), "GET /api/v1/openapi.json describes every field"))
      ),
      Effect.catchDefect((defect) => Effect.andThen(Effect.logError(`${caller.requestId}: ${Cause.pretty(Cause.die(defect))}`), unexpected(caller.requestId)))
    )
  })
)

const unexpected = (requestId: string) =>
  Effect.fail(
    new Internal({
      error: problemBody(requestId, "internal", "This is a fault of ours. Runs that are going on are not touched by it", `Look for ${requestId} in the daemon's log, in the home's directory "log"`)
    })
  )
