/** The OpenAI-compatible HTTP surface. Answers are written straight to Node's response: a stream passes through unbuffered. */
import { createHash, randomUUID, timingSafeEqual } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HttpBindings } from "@hono/node-server"
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response"
import type { GatewayRoute } from "@hypernode/engine/endpoints/GatewaySnapshot"
import { type Context, Hono } from "hono"
import { badRequest, type OpenAiError, overloaded, sendError, tooLarge, unauthorized, unknownModel, upstreamDown } from "./OpenAiError.ts"
import type { Quota } from "./Quota.ts"
import { type Exchange, relay, type Relayed } from "./relay.ts"
import { Slots } from "./Slots.ts"
import type { Routing, SnapshotSource } from "./SnapshotSource.ts"
import type { Upstreams } from "./Upstream.ts"
import type { UsageLog } from "./UsageLog.ts"

export interface GatewayParts {
  readonly gateway: string
  readonly source: SnapshotSource
  readonly quota: Quota
  readonly usage: UsageLog
  readonly upstreams: Upstreams
  /** bytes of a request's body */
  readonly bodyLimit: number
}

type Key = Routing["keys"][number]
type Env = { Bindings: HttpBindings }

/** Every known key is compared, each in constant time, so that timing tells nothing about which one was near. */
const authenticate = (routing: Routing, header: string | undefined): Key | undefined => {
  const presented = createHash("sha256").update(/^Bearer\s+(\S+)\s*$/i.exec(header ?? "")?.[1] ?? "").digest()
  let found: Key | undefined
  for (const key of routing.keys) if (timingSafeEqual(key.digest, presented)) found = key
  return found
}

const readBody = async (request: IncomingMessage, limit: number): Promise<Buffer | undefined> => {
  if (Number(request.headers["content-length"] ?? 0) > limit) return undefined
  const parts: Array<Buffer> = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > limit) return undefined
    parts.push(part)
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts)
}

const refuse = (response: ServerResponse, error: OpenAiError): Response => {
  sendError(response, error)
  return RESPONSE_ALREADY_SENT
}

const describe = (route: GatewayRoute) => ({ id: route.model, object: "model", created: route.created, owned_by: route.tenant })

export const gatewayApp = (parts: GatewayParts): Hono<Env> => {
  const { bodyLimit, quota, source, upstreams, usage } = parts
  const slots = new Map<string, { readonly size: string; readonly slots: Slots }>()
  const slotsOf = (route: GatewayRoute): Slots => {
    const size = `${route.concurrency}/${route.queue}`
    const known = slots.get(route.id)
    if (known?.size === size) return known.slots
    const made = new Slots(route.concurrency, route.queue)
    slots.set(route.id, { size, slots: made })
    return made
  }

  const forward = (operation: Exchange["operation"], path: string) => async (c: Context<Env>): Promise<Response> => {
    const started = performance.now()
    const { incoming, outgoing } = c.env as { incoming: IncomingMessage; outgoing: ServerResponse }
    const routing = source.current
    const header = incoming.headers.authorization
    const key = authenticate(routing, header)
    if (key === undefined) return refuse(outgoing, unauthorized(header !== undefined))
    const over = quota.admit(key)
    if (over !== undefined) return refuse(outgoing, over)

    const bytes = await readBody(incoming, bodyLimit)
    if (bytes === undefined) {
      outgoing.setHeader("connection", "close") // the rest of the body is not read
      return refuse(outgoing, tooLarge(bodyLimit))
    }
    let body: { model?: unknown; stream?: unknown; stream_options?: { include_usage?: unknown } | null }
    try {
      body = JSON.parse(bytes.toString("utf8")) as typeof body
    } catch {
      return refuse(outgoing, badRequest("The body is not JSON."))
    }
    if (body === null || typeof body !== "object" || typeof body.model !== "string") {
      return refuse(outgoing, badRequest(`The body has no "model". This key has: ${key.own.map((route) => route.model).join(", ")}.`))
    }
    const model = body.model
    const route = key.own.find((own) => own.model === model) ?? key.own.find((own) => own.id === model)
    if (route === undefined) return refuse(outgoing, unknownModel(model, key.own.map((own) => own.model)))

    const wantsUsage = body.stream_options?.include_usage === true
    body.model = route.upstreamModel
    // metering needs it; EventStream leaves it out again where the caller did not ask
    if (body.stream === true) body.stream_options = { ...body.stream_options, include_usage: true }

    const gone = new AbortController()
    outgoing.on("close", () => {
      if (!outgoing.writableFinished) gone.abort()
    })
    const requestId = randomUUID()
    let recorded = false
    const done = (relayed: Relayed): void => {
      if (recorded) return
      recorded = true
      usage.record({
        at: Date.now(),
        endpoint: route.id,
        tenant: route.tenant,
        key: key.hint,
        operation,
        ...relayed.usage,
        milliseconds: Math.round(performance.now() - started),
        status: relayed.status
      })
    }
    const fail = (error: OpenAiError): Response => {
      done({ status: error.status, usage: { promptTokens: 0, completionTokens: 0, estimated: false } })
      return refuse(outgoing, error)
    }
    const line = slotsOf(route)
    const slot = await line.acquire(gone.signal)
    if (slot === "full") return fail(overloaded(route.model, line.waiting))
    if (slot === "gone") {
      done({ status: 499, usage: { promptTokens: 0, completionTokens: 0, estimated: false } })
      return RESPONSE_ALREADY_SENT
    }
    try {
      const answer = await upstreams.send(route.upstream, path, Buffer.from(JSON.stringify(body)), requestId, gone.signal)
      if (answer.kind === "answer") await relay(answer.response, { route, operation, wantsUsage, requestId, response: outgoing, done })
      else if (gone.signal.aborted) done({ status: 499, usage: { promptTokens: 0, completionTokens: 0, estimated: false } })
      else fail(upstreamDown(route.model, route.id, answer.cause))
    } finally {
      line.release()
    }
    return RESPONSE_ALREADY_SENT
  }

  const listing = (c: Context<Env>): Response => {
    const header = c.req.header("authorization")
    const key = authenticate(source.current, header)
    if (key === undefined) return refuse(c.env.outgoing as ServerResponse, unauthorized(header !== undefined))
    const wanted = c.req.param("model")
    if (wanted === undefined) return c.json({ object: "list", data: key.own.map(describe) })
    const route = key.own.find((own) => own.model === wanted)
    if (route === undefined) return refuse(c.env.outgoing as ServerResponse, unknownModel(wanted, key.own.map((own) => own.model)))
    return c.json(describe(route))
  }

  return new Hono<Env>()
    .get("/healthz", (c) => {
      const { current, refused } = source
      return c.json({ status: refused === undefined ? "ok" : "degraded", gateway: parts.gateway, pid: process.pid, snapshot: current.version, routes: current.routes.length, sequence: usage.sequence, ...(refused === undefined ? {} : { refused }) })
    })
    .get("/v1/models", listing)
    .get("/v1/models/:model{.+}", listing)
    .post("/v1/chat/completions", forward("chat.completions", "/v1/chat/completions"))
    .post("/v1/completions", forward("completions", "/v1/completions"))
    .post("/v1/embeddings", forward("embeddings", "/v1/embeddings"))
    .notFound((c) =>
      refuse(c.env.outgoing as ServerResponse, {
        status: 404,
        type: "invalid_request_error",
        code: "unknown_url",
        message: `${c.req.method} ${c.req.path} is not served here. There are: GET /v1/models, POST /v1/chat/completions, /v1/completions, /v1/embeddings, GET /healthz.`
      })
    )
    .onError((error, c) => {
      const outgoing = c.env.outgoing as ServerResponse
      process.stderr.write(`${new Date().toISOString()} ${c.req.method} ${c.req.path}: ${error.message}\n`)
      if (outgoing.headersSent || outgoing.destroyed) outgoing.destroy()
      else sendError(outgoing, { status: 500, type: "server_error", code: "internal_error", message: "The gateway failed. Its log says why: gateway/gateway.log in the home." })
      return RESPONSE_ALREADY_SENT
    })
}
