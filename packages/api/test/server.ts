/** A real listener over the in-memory engine: what the tests of this package and of the page talk to. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { makeApp, type AppOptions } from "../src/App.ts"
import { AuthStore } from "../src/auth/AuthStore.ts"
import type { Scope as KeyScope } from "../src/contract/Caller.ts"
import { listenTcp } from "../src/http/listen.ts"
import { MemoryAuthStore } from "./MemoryAuthStore.ts"
import { makeTestEngine } from "./TestEngine.ts"

export const startServer = async (options: Partial<AppOptions> & { readonly port?: number } = {}) => {
  const engine = makeTestEngine()
  const scope = Scope.makeUnsafe()
  const services = await Effect.runPromise(Layer.buildWithScope(Layer.mergeAll(engine.layer, MemoryAuthStore), scope))
  const inScope = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> => Effect.runPromise(Scope.provide(effect, scope))
  const app = await inScope(makeApp({ access: { mode: "login", hosts: [], secure: false }, pingMillis: 200, logMillis: 20, ...options }).pipe(Effect.provide(services)))
  let port = options.port ?? 0
  let listening = Scope.makeUnsafe()
  const listen = async () => {
    listening = Scope.makeUnsafe()
    const bound = await Effect.runPromise(Scope.provide(listenTcp(app, { port }), listening))
    port = bound.port
    return bound.url
  }
  const url = await listen()
  const auth = Context.get(services, AuthStore)

  /** Logs in over HTTP as a browser would; the cookie to send. */
  const login = async (tenant: string): Promise<string> => {
    const { token } = await Effect.runPromise(auth.createLink(tenant, "owner"))
    const response = await fetch(`${url}/api/v1/login`, { method: "POST", headers: { "content-type": "application/json", origin: url }, body: JSON.stringify({ token }) })
    if (response.status !== 200) throw new Error(`login answered ${response.status}: ${await response.text()}`)
    return response.headers.get("set-cookie")!.split(";")[0]!
  }

  const client = (headers: Record<string, string>) => async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { ...headers, origin: url, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: text.startsWith("{") ? JSON.parse(text) : undefined }
  }

  return {
    url,
    engine,
    app,
    auth,
    login,
    loginLink: async (tenant: string) => `${url}/login#${(await Effect.runPromise(auth.createLink(tenant, "owner"))).token}`,
    as: async (tenant: string) => client({ cookie: await login(tenant) }),
    withKey: async (tenant: string, scopes: ReadonlyArray<KeyScope>) => client({ authorization: `Bearer ${(await Effect.runPromise(auth.createKey(tenant, "test", scopes))).key}` }),
    anonymous: client({}),
    /** Drops the listener (and every open stream) and comes back on the same port: a daemon that was replaced. */
    stopListening: () => Effect.runPromise(Scope.close(listening, Exit.void)),
    listenAgain: listen,
    close: async () => {
      await Effect.runPromise(Scope.close(listening, Exit.void))
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}

export type TestServer = Awaited<ReturnType<typeof startServer>>
