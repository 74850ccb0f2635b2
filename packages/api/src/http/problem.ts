/** Errors as responses: from the engine's words to the one shape on the wire. */
import { randomBytes } from "node:crypto"
import type { ProblemBody } from "../contract/Problem.ts"
import { BadRequest, Conflict, Forbidden, Internal, NotFound, type Problem, Unavailable, Unprocessable } from "../contract/Problem.ts"
import type { EngineError } from "../Engine.ts"

export const newRequestId = (): string => `req_${randomBytes(6).toString("hex")}`

const classes = {
  "not-found": NotFound,
  invalid: Unprocessable,
  conflict: Conflict,
  denied: Forbidden,
  unavailable: Unavailable,
  internal: Internal
} as const

const status: Record<EngineError["kind"], number> = { "not-found": 404, invalid: 422, conflict: 409, denied: 403, unavailable: 503, internal: 500 }

export const problemBody = (requestId: string, code: string, message: string, remedy?: string): ProblemBody => ({
  code,
  message,
  ...(remedy === undefined ? {} : { remedy }),
  requestId
})

const words = (requestId: string, error: EngineError): ProblemBody =>
  // One answer for "not there" and "not yours": nothing is to be learnt from the difference.
  error.kind === "not-found"
    ? problemBody(requestId, "not_found", "Nothing here, or not yours", "List what is yours: hyper runs, hyper endpoints")
    : problemBody(requestId, error.code, error.message, error.remedy)

export const problemOf = (requestId: string, error: EngineError): Problem => new classes[error.kind]({ error: words(requestId, error) })

export const invalidRequest = (requestId: string, message: string, remedy?: string): BadRequest =>
  new BadRequest({ error: problemBody(requestId, "bad_request", message, remedy) })

/** The same as a plain Response, for what lies outside the contract: streams, chat, login, files. */
export const problemResponse = (httpStatus: number, body: ProblemBody, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify({ error: body }), { status: httpStatus, headers: { "content-type": "application/json", ...headers } })

export const engineProblemResponse = (requestId: string, error: EngineError): Response => problemResponse(status[error.kind], words(requestId, error))
