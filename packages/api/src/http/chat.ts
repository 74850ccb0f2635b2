/** `POST /api/v1/endpoints/:id/chat`: an OpenAI chat request, sent on to the endpoint's gateway with its key, so that the page needs no key. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Context } from "hono"
import type { CallerInfo } from "../contract/Caller.ts"
import { Engine, EngineError } from "../Engine.ts"
import { problemBody, problemResponse } from "./problem.ts"

export const ChatRequest = Schema.Struct({
  messages: Schema.Array(Schema.Struct({ role: Schema.Literals(["system", "user", "assistant"]), content: Schema.String })).check(Schema.isMinLength(1)),
  stream: Schema.optionalKey(Schema.Boolean),
  temperature: Schema.optionalKey(Schema.Number),
  top_p: Schema.optionalKey(Schema.Number),
  max_tokens: Schema.optionalKey(Schema.Int),
  seed: Schema.optionalKey(Schema.Int)
})

const decode = Schema.decodeUnknownResult(ChatRequest)

export const chat = Effect.fnUntraced(function*(c: Context, caller: CallerInfo) {
  const engine = yield* Engine
  const body = decode(yield* Effect.promise(() => c.req.json().catch(() => null)))
  if (body._tag === "Failure") {
    return problemResponse(400, problemBody(caller.requestId, "bad_request", "A chat needs messages: [{ role, content }]", "The shape is OpenAI's chat completion request"))
  }
  const id = c.req.param("id")
  const endpoint = (yield* engine.endpoints(caller.tenant)).find((one) => one.id === id)
  if (endpoint === undefined) return yield* new EngineError({ kind: "not-found", code: "endpoint_not_found", message: "no such endpoint" })
  const key = yield* engine.endpointKey(caller.tenant, endpoint.id)
  const request = { ...body.success, model: endpoint.model, ...(body.success.stream === true ? { stream_options: { include_usage: true } } : {}) }
  const upstream = yield* Effect.tryPromise({
    try: () =>
      fetch(`${endpoint.url}/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: JSON.stringify(request),
        redirect: "error",
        signal: c.req.raw.signal
      }),
    catch: () =>
      new EngineError({ kind: "unavailable", code: "endpoint_unreachable", message: `The endpoint ${endpoint.model} does not answer`, remedy: `Look at it with: hyper endpoints, and at its log with: hyper logs ${endpoint.runId}` })
  })
  if (!upstream.ok) {
    const answer: unknown = yield* Effect.promise(() => upstream.json().catch(() => null))
    const message = typeof answer === "object" && answer !== null && "error" in answer && typeof answer.error === "object" && answer.error !== null && "message" in answer.error ? String(answer.error.message) : `it answered ${upstream.status}`
    return problemResponse(upstream.status >= 500 ? 502 : upstream.status, problemBody(caller.requestId, "endpoint_refused", `The endpoint ${endpoint.model} refused: ${message}`))
  }
  return new Response(upstream.body, {
    status: 200,
    headers: { "content-type": upstream.headers.get("content-type") ?? "application/json", "cache-control": "no-store", "x-accel-buffering": "no" }
  })
})
