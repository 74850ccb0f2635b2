/** Errors in the shape that OpenAI clients understand: `{error: {message, type, param, code}}`. Messages name the remedy. */
import type { ServerResponse } from "node:http"

export interface OpenAiError {
  readonly status: number
  readonly type: "invalid_request_error" | "authentication_error" | "rate_limit_error" | "server_error"
  readonly code: string
  readonly message: string
  /** seconds */
  readonly retryAfter?: number
}

export const errorBody = (error: OpenAiError): string =>
  JSON.stringify({ error: { message: error.message, type: error.type, param: null, code: error.code } })

export const sendError = (response: ServerResponse, error: OpenAiError): void => {
  const body = errorBody(error)
  response.writeHead(error.status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...(error.retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(error.retryAfter))) }),
    ...(error.status === 401 ? { "www-authenticate": 'Bearer realm="hyper"' } : {})
  })
  response.end(body)
}

export const unauthorized = (presented: boolean): OpenAiError => ({
  status: 401,
  type: "authentication_error",
  code: "invalid_api_key",
  message: presented
    ? "This API key is not known here. `hyper endpoints key <id>` shows an endpoint's key to its owner."
    : "No API key was sent. Send the endpoint's key as `Authorization: Bearer hk-...`; `hyper endpoints key <id>` shows it to its owner."
})

export const unknownModel = (model: string, known: ReadonlyArray<string>): OpenAiError => ({
  status: 404,
  type: "invalid_request_error",
  code: "model_not_found",
  message: `This key has no model named ${JSON.stringify(model.slice(0, 120))}. ${known.length === 0 ? "It has none at all: the endpoint was stopped; run its pipeline again." : `It has: ${known.join(", ")}.`}`
})

export const badRequest = (message: string, code = "invalid_request"): OpenAiError => ({ status: 400, type: "invalid_request_error", code, message })

export const tooLarge = (limit: number): OpenAiError => ({
  status: 413,
  type: "invalid_request_error",
  code: "request_too_large",
  message: `The request is larger than ${limit} bytes, the most that this gateway takes.`
})

export const overQuota = (what: string, retryAfter: number): OpenAiError => ({
  status: 429,
  type: "rate_limit_error",
  code: "rate_limit_exceeded",
  message: `This key's quota is used up: ${what}. Try again in ${Math.max(1, Math.ceil(retryAfter))} s, or have its owner raise it.`,
  retryAfter
})

export const overloaded = (model: string, waiting: number): OpenAiError => ({
  status: 503,
  type: "server_error",
  code: "overloaded",
  message: `${model} is busy and ${waiting} requests already wait. Try again shortly.`,
  retryAfter: 2
})

export const upstreamDown = (model: string, endpoint: string, cause: string): OpenAiError => ({
  status: 503,
  type: "server_error",
  code: "upstream_unavailable",
  message: `The server of ${model} cannot be reached (${cause}). It may be starting again; \`hyper endpoints\` shows its state, and running the pipeline again replaces it. Endpoint: ${endpoint}.`,
  retryAfter: 5
})

export const upstreamBroke = (model: string, endpoint: string, cause: string): OpenAiError => ({
  status: 502,
  type: "server_error",
  code: "upstream_error",
  message: `The server of ${model} broke off its answer (${cause}). Try again; if it stays so, run the pipeline again: that replaces the server. Endpoint: ${endpoint}.`
})
