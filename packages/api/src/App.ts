/**
 * The HTTP face: Effect's HttpApi for the contract, mounted in Hono, which adds what lies outside a contract: login, event streams,
 * chat, the page, and the headers that every answer carries. One app per listener, because the listener decides how callers are known.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { type Context as HonoContext, Hono } from "hono"
import { AuthStore, type AuthStoreError } from "./auth/AuthStore.ts"
import { makeRateLimit } from "./auth/RateLimit.ts"
import { Api } from "./contract/Api.ts"
import { Caller, type CallerInfo } from "./contract/Caller.ts"
import { Engine, EngineError } from "./Engine.ts"
import { type Access, hostProblem, identify } from "./http/access.ts"
import { chat } from "./http/chat.ts"
import { GuardLive } from "./http/guard.ts"
import { HandlersLive } from "./http/handlers.ts"
import { login, logout } from "./http/login.ts"
import { contentSecurityPolicy, makePage } from "./http/page.ts"
import { engineProblemResponse, newRequestId, problemBody, problemResponse } from "./http/problem.ts"
import { runStream } from "./stream/runStream.ts"
import { frame, parseCursor } from "./stream/sse.ts"

export interface AppOptions {
  readonly access: Access
  /** the built page (packages/ui/dist); without one, `/` says how to build it */
  readonly ui?: string
  readonly pingMillis?: number
  readonly logMillis?: number
}

type Env = { Variables: { requestId: string; caller: CallerInfo } }
export type App = Hono<Env>

const BODY_LIMIT = 4 * 1024 * 1024

const headers: ReadonlyArray<readonly [string, string]> = [
  ["content-security-policy", contentSecurityPolicy],
  ["x-content-type-options", "nosniff"],
  ["x-frame-options", "DENY"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-opener-policy", "same-origin"],
  ["cross-origin-resource-policy", "same-origin"]
]

/** Needs no caller: a page that is not logged in must load, and a probe must be able to ask. */
const open = new Set(["/api/v1/login", "/api/v1/openapi.json"])

export const makeApp = Effect.fn("makeApp")(function*(options: AppOptions): Effect.fn.Return<App, never, Engine | AuthStore | Scope.Scope> {
  const services = yield* Effect.context<Engine | AuthStore>()
  const engine = Context.get(services, Engine)
  const run = Effect.runPromiseWith(services)
  const { access } = options
  const logins = makeRateLimit({ attempts: 10, windowMillis: 60_000 })
  const keys = makeRateLimit({ attempts: 60, windowMillis: 60_000 })
  const page = makePage(options.ui)

  const contract = HttpRouter.toWebHandler(
    HttpApiBuilder.layer(Api, { openapiPath: "/api/v1/openapi.json" }).pipe(
      Layer.provide(HandlersLive),
      Layer.provide(GuardLive),
      Layer.provide(Layer.succeedContext(services)),
      Layer.provide(HttpServer.layerServices)
    ),
    { disableLogger: true }
  )
  yield* Effect.addFinalizer(() => Effect.promise(() => contract.dispose()))

  /** Runs a handler that may fail with the engine's or the store's error. */
  const answer = (c: HonoContext<Env>, effect: Effect.Effect<Response, EngineError | AuthStoreError, Engine | AuthStore>): Promise<Response> =>
    run(
      effect.pipe(
        Effect.catchTag("EngineError", (error) => Effect.succeed(engineProblemResponse(c.var.requestId, error))),
        Effect.catchTag("AuthStoreError", (error) => Effect.succeed(problemResponse(503, problemBody(c.var.requestId, "store_unavailable", error.message, "hyper doctor"))))
      )
    )

  const app = new Hono<Env>()

  app.use("*", async (c, next) => {
    const requestId = newRequestId()
    c.set("requestId", requestId)
    const refused = hostProblem(c, access, requestId)
    if (refused !== undefined) c.res = refused
    else await next()
    for (const [name, value] of headers) c.res.headers.set(name, value)
    c.res.headers.set("x-request-id", requestId)
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store")
  })

  // Node holds a body to its content-length, so the header is the size. Only JSON comes in here: nobody needs an open-ended body.
  app.use("/api/*", async (c, next) => {
    if (Number(c.req.header("content-length") ?? 0) > BODY_LIMIT) {
      return problemResponse(413, problemBody(c.var.requestId, "too_large", "A request may have 4 MiB at most", "Name a data file by its path instead of sending it"), { connection: "close" })
    }
    if (c.req.header("transfer-encoding") !== undefined) {
      return problemResponse(411, problemBody(c.var.requestId, "length_required", "A request says how long its body is", "Send a content-length"), { connection: "close" })
    }
    return next()
  })

  app.use("/api/*", async (c, next) => {
    if (open.has(c.req.path)) return next()
    const caller = await answer(c, identify(c, access, c.var.requestId, keys) as Effect.Effect<never, AuthStoreError, AuthStore>) as Response | CallerInfo
    if (caller instanceof Response) return caller
    c.set("caller", caller)
    return next()
  })

  app.post("/api/v1/login", (c) => answer(c, login(c, access, c.var.requestId, logins)))
  app.post("/api/v1/logout", (c) => answer(c, logout(c, access)))

  app.get("/api/v1/runs/:id/stream", (c) =>
    answer(
      c,
      Effect.gen(function*() {
        const { requestId, scopes, tenant } = c.var.caller
        if (!scopes.includes("read")) return problemResponse(403, problemBody(requestId, "scope_missing", `This needs the scope "read"`))
        const { id } = yield* engine.run(tenant, c.req.param("id"))
        const include = (c.req.query("include") ?? "run,sample,log").split(",")
        const frames = runStream(engine, {
          tenant,
          runId: id,
          cursor: parseCursor(c.req.header("last-event-id") ?? c.req.query("after")),
          include: { samples: include.includes("sample"), logs: include.includes("log") },
          pingMillis: options.pingMillis ?? 15_000,
          logMillis: options.logMillis ?? 500
        }).pipe(
          Stream.catch((error) => Stream.succeed(frame("problem", undefined, problemBody(requestId, error.code, error.message, error.remedy)))),
          // The first bytes go out at once: proxies and browsers then know that the stream is open.
          (events) => Stream.concat(Stream.succeed(`retry: 1000\n\n`), events),
          Stream.encodeText
        )
        const body = yield* Stream.toReadableStreamEffect(frames)
        return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" } })
      })
    ))

  app.post("/api/v1/endpoints/:id/chat", (c) =>
    c.var.caller.scopes.includes("write")
      ? answer(c, chat(c, c.var.caller))
      : problemResponse(403, problemBody(c.var.requestId, "scope_missing", `This needs the scope "write"`, "Make a key with that scope")))

  app.all("/api/*", async (c) => {
    const requestId = c.var.requestId
    const caller = c.var.caller ?? { tenant: "", by: "", scopes: [], owner: false, requestId }
    const response = await contract.handler(c.req.raw, Context.make(Caller, caller))
    // What the router itself answers has no body: no such path, no such method.
    if (response.status >= 400 && !(response.headers.get("content-type") ?? "").includes("json")) {
      return response.status === 404
        ? problemResponse(404, problemBody(requestId, "not_found", `There is no ${c.req.method} ${c.req.path}`, "GET /api/v1/openapi.json lists what there is"))
        : problemResponse(response.status, problemBody(requestId, "refused", `${c.req.method} ${c.req.path} was refused`, "GET /api/v1/openapi.json describes it"))
    }
    // Headers of a fetch Response may be immutable; the outer middleware adds ours.
    return new Response(response.body, response)
  })

  app.get("*", (c) => {
    const path = c.req.path
    return (path.startsWith("/v1/") ? undefined : page.respond(path)) ?? problemResponse(404, problemBody(c.var.requestId, "not_found", `There is no ${path}`))
  })

  app.notFound((c) => problemResponse(404, problemBody(c.var.requestId, "not_found", `There is no ${c.req.method} ${c.req.path}`)))
  app.onError((error, c) => {
    Effect.runForkWith(services)(Effect.logError(`${c.var.requestId}: ${error instanceof Error ? error.stack : String(error)}`))
    return problemResponse(500, problemBody(c.var.requestId, "internal", "This is a fault of ours. Runs that are going on are not touched by it", `Look for ${c.var.requestId} in the daemon's log`))
  })

  return app
})
