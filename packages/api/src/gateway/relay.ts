/** From an upstream's answer to the caller's: model name, usage, error shape. Resolves when the caller has all of it, or has gone. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { GatewayRoute } from "@hypernode/engine/endpoints/GatewaySnapshot"
import { EventStream, type Usage } from "./EventStream.ts"
import { badRequest, errorBody, type OpenAiError, sendError, upstreamBroke } from "./OpenAiError.ts"

export interface Relayed {
  readonly status: number
  readonly usage: Usage
}

const NOTHING: Usage = { promptTokens: 0, completionTokens: 0, estimated: false }
/** A whole JSON answer is held in memory; a model server that sends more than this is broken. */
const ANSWER_LIMIT = 64 * 1024 * 1024

export interface Exchange {
  readonly route: GatewayRoute
  readonly operation: "chat.completions" | "completions" | "embeddings"
  readonly wantsUsage: boolean
  readonly requestId: string
  readonly response: ServerResponse
  /** called with status and usage before the last byte leaves */
  readonly done: (relayed: Relayed) => void
}

export const relay = async (answer: IncomingMessage, exchange: Exchange): Promise<void> => {
  const status = answer.statusCode ?? 502
  if (status < 400 && (answer.headers["content-type"] ?? "").startsWith("text/event-stream")) return relayStream(answer, exchange)
  const { response, route, done } = exchange
  let bytes: Buffer
  try {
    bytes = await collect(answer)
  } catch (error) {
    if (response.destroyed) return done({ status: 499, usage: NOTHING })
    const broke = upstreamBroke(route.model, route.id, cause(error))
    done({ status: broke.status, usage: NOTHING })
    return sendError(response, broke)
  }
  if (status >= 400) {
    const error = upstreamError(status, bytes, exchange)
    done({ status: error.status, usage: NOTHING })
    return sendError(response, error)
  }
  let body: { model?: string; usage?: { prompt_tokens?: number; completion_tokens?: number } }
  try {
    body = JSON.parse(bytes.toString("utf8")) as typeof body
  } catch {
    const broke = upstreamBroke(route.model, route.id, "its answer is not JSON")
    done({ status: broke.status, usage: NOTHING })
    return sendError(response, broke)
  }
  body.model = route.model
  const usage = { promptTokens: body.usage?.prompt_tokens ?? 0, completionTokens: body.usage?.completion_tokens ?? 0, estimated: body.usage === undefined }
  const text = JSON.stringify(body)
  done({ status, usage })
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text), "x-request-id": exchange.requestId })
  response.end(text)
}

const relayStream = (answer: IncomingMessage, { done, requestId, response, route, wantsUsage }: Exchange): Promise<void> =>
  new Promise((resolve) => {
    const events = new EventStream(route.model, route.upstreamModel, wantsUsage)
    let ended = false
    const end = (status: number, last: string): void => {
      if (ended) return
      ended = true
      done({ status, usage: events.usage })
      if (!response.destroyed) response.end(last)
      resolve()
    }
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no", "x-request-id": requestId })
    response.flushHeaders()
    response.on("close", () => end(499, ""))
    answer.on("data", (bytes: Buffer) => {
      const text = events.push(bytes)
      if (text !== "" && !response.write(text)) {
        answer.pause()
        response.once("drain", () => answer.resume())
      }
    })
    answer.on("end", () => end(200, events.end()))
    const broke = (error: unknown): void =>
      response.destroyed ? end(499, "") : end(502, `data: ${errorBody(upstreamBroke(route.model, route.id, cause(error)))}\n\n`)
    answer.on("error", broke)
    answer.on("aborted", () => broke(new Error("connection closed in the middle")))
  })

const collect = async (answer: IncomingMessage): Promise<Buffer> => {
  const parts: Array<Buffer> = []
  let size = 0
  for await (const part of answer as AsyncIterable<Buffer>) {
    size += part.length
    if (size > ANSWER_LIMIT) throw new Error(`its answer is larger than ${ANSWER_LIMIT} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

const cause = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? (error as Error).message

/** Servers say what is wrong in several shapes (`{error: {message}}`, `{error: "..."}`, FastAPI's `{detail}`); a path of this machine does not leave. */
const upstreamError = (status: number, bytes: Buffer, { operation, route }: Exchange): OpenAiError => {
  if (operation === "embeddings" && (status === 404 || status === 405 || status === 501)) {
    return badRequest(`${route.model} serves no embeddings: it is a text generation model. Use /v1/chat/completions or /v1/completions.`, "unsupported_endpoint")
  }
  let message = ""
  let code: string | undefined
  try {
    const body = JSON.parse(bytes.toString("utf8")) as { error?: string | { message?: string; code?: string }; detail?: unknown; message?: string }
    message = typeof body.error === "string" ? body.error : (body.error?.message ?? body.message ?? (typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? "")))
    code = typeof body.error === "object" ? body.error.code : undefined
  } catch {
    message = `HTTP ${status}`
  }
  message = message.replaceAll(route.upstreamModel, route.model).slice(0, 2000)
  return {
    status: status === 401 || status === 403 ? 502 : status,
    type: status >= 500 ? "server_error" : "invalid_request_error",
    code: code ?? (status >= 500 ? "upstream_error" : "invalid_request"),
    message: message === "" ? `The server of ${route.model} answered HTTP ${status}.` : message,
    ...(status === 503 || status === 429 ? { retryAfter: 5 } : {})
  }
}
