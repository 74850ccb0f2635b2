/**
 * What only the home's owner may ask, over the home's Unix socket: is the daemon busy, stop it, its keyring, listen on TCP for as
 * long as `hyper serve` holds the line.
 */
import { makeApp } from "@hypernode/api"
import { AuthStore } from "@hypernode/api/auth/AuthStore"
import type { Engine } from "@hypernode/api/Engine"
import { listenTcp } from "@hypernode/api/http/listen"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import type { Secrets } from "@hypernode/engine/capability/Secrets"
import type { Keyring } from "@hypernode/engine/keys/Keyring"
import { RunStore } from "@hypernode/engine/run/RunStore"
import { Context, Deferred, Effect, Exit, Scope } from "effect"
import { type Context as HonoContext, Hono } from "hono"
import { TENANT } from "../tenant.ts"
import { version } from "../version.ts"
import type { Activity } from "./Activity.ts"
import { keyRoutes } from "./keyRoutes.ts"
import { uiDirectory } from "./ui.ts"

type Needs = Engine | AuthStore | Endpoints | Keyring | Secrets | RunStore

export const ownerRoutes = (context: Context.Context<Needs>, activity: Activity, stop: Deferred.Deferred<void>): Hono => {
  const run = Effect.runPromiseWith(context)
  const store = Context.get(context, RunStore)
  const endpoints = Context.get(context, Endpoints)
  const auth = Context.get(context, AuthStore)

  const app = new Hono()
  const problem = (c: HonoContext, status: 409 | 422 | 500, code: string, message: string, remedy?: string) => c.json({ error: { code, message, ...(remedy === undefined ? {} : { remedy }), requestId: "" } }, status)

  app.get("/api/v1/daemon", async (c) => {
    const unfinished = await run(store.unfinished)
    return c.json({ version, pid: process.pid, busy: unfinished.length > 0 || activity.holds > 0, unfinished, url: activity.url ?? null })
  })

  app.post("/api/v1/daemon/stop", async (c) => {
    const { everything } = await c.req.json<{ everything?: boolean }>()
    const ended: Array<string> = []
    if (everything === true) {
      for (const { endpoint, state } of await run(endpoints.list(TENANT))) {
        if (state === "stopped") continue
        await run(endpoints.stop(endpoint.id))
        ended.push(`endpoint ${endpoint.model}`)
      }
    }
    // answer first: the listener closes with the daemon
    setTimeout(() => Effect.runFork(Deferred.succeed(stop, undefined)), 20)
    return c.json({ ended })
  })

  app.route("/", keyRoutes(context))

  app.post("/api/v1/daemon/login", async (c) => {
    if (activity.url === undefined) return problem(c, 409, "not_serving", "no server is running in this home", "start one: hyper serve")
    const link = await run(auth.createLink(TENANT, "owner"))
    return c.json({ url: `${activity.url}/login#${link.token}`, expiresAt: link.expiresAt })
  })

  app.post("/api/v1/daemon/keys", async (c) => {
    const { name } = await c.req.json<{ name: string }>()
    return c.json(await run(auth.createKey(TENANT, name, ["read", "write", "admin"])))
  })

  /** Opens the port, says where, and keeps it open until this very response is broken off. */
  app.post("/api/v1/daemon/serve", async (c) => {
    const { port } = await c.req.json<{ port: number }>()
    if (activity.url !== undefined) return problem(c, 409, "already_serving", `this home already serves at ${activity.url}`, "use that one, or end it with Ctrl-C where it runs; hyper serve --login prints a new link")
    const scope = Scope.makeUnsafe()
    const opened = await run(
      Effect.gen(function*() {
        const ui = yield* Effect.promise(uiDirectory)
        const page = yield* makeApp({ access: { mode: "login", hosts: [], secure: false }, ...(ui === undefined ? {} : { ui }) })
        const { url } = yield* listenTcp({ fetch: (request) => { activity.touch(); return page.fetch(request) } }, { port })
        const link = yield* auth.createLink(TENANT, "owner")
        return { url, login: `${url}/login#${link.token}` }
      }).pipe(Effect.provideService(Scope.Scope, scope), Effect.exit)
    )
    if (Exit.isFailure(opened)) {
      await run(Scope.close(scope, Exit.void))
      const failure = opened.cause.reasons.find((r) => r._tag === "Fail")
      const error = failure?.error as { message: string; remedy?: string } | undefined
      return problem(c, 409, "listen", error?.message ?? "the port could not be opened", error?.remedy)
    }
    activity.url = opened.value.url
    activity.holds++
    let closed = false
    const close = () => {
      if (closed) return
      closed = true
      activity.holds--
      activity.url = undefined
      Effect.runFork(Scope.close(scope, Exit.void))
    }
    let timer: NodeJS.Timeout | undefined
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const encoder = new TextEncoder()
        controller.enqueue(encoder.encode(`${JSON.stringify(opened.value)}\n`))
        timer = setInterval(() => {
          try {
            controller.enqueue(encoder.encode("\n"))
          } catch {
            close()
          }
        }, 1_000)
      },
      cancel: () => {
        clearInterval(timer)
        close()
      }
    })
    c.req.raw.signal.addEventListener("abort", () => { clearInterval(timer); close() })
    return new Response(body, { headers: { "content-type": "application/x-ndjson" } })
  })

  return app
}
