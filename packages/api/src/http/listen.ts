/** Listeners as scoped resources: TCP, and the home's Unix socket. Closing the scope ends open streams. */
import { chmodSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { connect } from "node:net"
import { getRequestListener } from "@hono/node-server"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** Anything with a fetch handler: the API's app, the gateway's. */
export interface Fetcher {
  readonly fetch: (request: Request) => Response | Promise<Response>
}

export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  reason: Schema.Literals(["PortInUse", "NotAllowed", "NotLoopback", "SocketPath", "SocketInUse", "Failed"]),
  message: Schema.String,
  remedy: Schema.String
}) {}

const serverOf = (app: Fetcher): Server => createServer(getRequestListener((request) => app.fetch(request), { overrideGlobalObjects: false }))

const close = (server: Server): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    // Streams never end by themselves; whoever follows one reconnects by its cursor.
    server.closeIdleConnections()
    const timer = setTimeout(() => server.closeAllConnections(), 100)
    timer.unref()
  })

const start = (server: Server, open: (server: Server) => void): Effect.Effect<void, NodeJS.ErrnoException> =>
  Effect.callback<void, NodeJS.ErrnoException>((resume) => {
    server.once("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error)))
    server.once("listening", () => resume(Effect.void))
    open(server)
  })

const loopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)

export interface TcpOptions {
  /** 127.0.0.1 unless told otherwise */
  readonly host?: string
  /** 0 takes a free one */
  readonly port: number
  /** A proxy in front speaks TLS: needed for any address beyond loopback. */
  readonly tlsProxy?: boolean
}

/** The address that is really listened on. */
export const listenTcp = Effect.fn("listenTcp")(function*(app: Fetcher, options: TcpOptions): Effect.fn.Return<{ readonly url: string; readonly port: number }, ListenError, Scope.Scope> {
  const host = options.host ?? "127.0.0.1"
  if (!loopback(host) && options.tlsProxy !== true) {
    return yield* new ListenError({
      reason: "NotLoopback",
      message: `${host} can be reached from other machines, and this server speaks plain HTTP`,
      remedy: "listen on 127.0.0.1 behind a proxy that speaks TLS; if that proxy is elsewhere, say so with --tls-proxy"
    })
  }
  const server = yield* Effect.acquireRelease(
    Effect.suspend(() => {
      const created = serverOf(app)
      return Effect.as(start(created, (one) => one.listen(options.port, host)), created)
    }).pipe(
      Effect.mapError((error) =>
        error.code === "EADDRINUSE"
          ? new ListenError({ reason: "PortInUse", message: `port ${options.port} on ${host} is in use by another program`, remedy: `stop that program, or choose another port: --port ${options.port + 1}, or --port 0 for any free one` })
          : error.code === "EACCES"
          ? new ListenError({ reason: "NotAllowed", message: `port ${options.port} on ${host} is not allowed for this user`, remedy: "choose a port above 1023: --port 4300" })
          : new ListenError({ reason: "Failed", message: `cannot listen on ${host}:${options.port}: ${error.code ?? error.message}`, remedy: "choose another address or port" })
      )
    ),
    close
  )
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : options.port
  return { url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`, port }
})

/** Does anything answer on the socket? */
const answers = (path: string): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const socket = connect(path)
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.once("error", () => resume(Effect.succeed(false)))
  })

/** The directory must be of mode 0700: whoever can open the socket is the home's owner. A socket that a killed daemon left is replaced. */
export const listenUnix = Effect.fn("listenUnix")(function*(app: Fetcher, path: string): Effect.fn.Return<void, ListenError, Scope.Scope> {
  if (Buffer.byteLength(path) > 103) {
    return yield* new ListenError({ reason: "SocketPath", message: `the socket's path is too long for this system: ${path}`, remedy: "set HYPER_HOME to a shorter path" })
  }
  const bind = Effect.suspend(() => {
    const created = serverOf(app)
    return Effect.as(start(created, (one) => one.listen(path)), created)
  })
  yield* Effect.acquireRelease(
    bind.pipe(
      Effect.catchIf(
        (error) => error.code === "EADDRINUSE",
        (error) => Effect.flatMap(answers(path), (alive) => (alive ? Effect.fail(error) : Effect.andThen(Effect.sync(() => rmSync(path, { force: true })), bind)))
      ),
      Effect.mapError((error) =>
        error.code === "EADDRINUSE"
          ? new ListenError({ reason: "SocketInUse", message: `another daemon answers on ${path}`, remedy: "use it, or end it with: hyper stop" })
          : new ListenError({ reason: "Failed", message: `cannot listen on ${path}: ${error.code ?? error.message}`, remedy: "is the home's directory writable for this user?" })
      ),
      Effect.tap(() => Effect.sync(() => chmodSync(path, 0o600)))
    ),
    close
  )
})
