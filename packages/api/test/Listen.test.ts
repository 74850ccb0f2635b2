import { mkdtempSync, rmSync, statSync } from "node:fs"
import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { listenTcp, listenUnix } from "../src/http/listen.ts"

const app = { fetch: () => new Response("here") }

const directory = Effect.acquireRelease(Effect.sync(() => mkdtempSync(join(tmpdir(), "hl-"))), (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })))

const ask = (socketPath: string) =>
  Effect.callback<string>((resume) => {
    request({ socketPath, path: "/" }, (response) => {
      let text = ""
      response.on("data", (data) => (text += data))
      response.on("end", () => resume(Effect.succeed(text)))
    }).end()
  })

describe("listeners", () => {
  it.live("name the port that is taken and a way out", () =>
    Effect.gen(function*() {
      const taken = createServer()
      yield* Effect.acquireRelease(Effect.promise(() => new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve))), () => Effect.promise(() => new Promise((resolve) => taken.close(resolve))))
      const { port } = taken.address() as AddressInfo
      const error = yield* Effect.flip(listenTcp(app, { port }))
      assert.strictEqual(error.reason, "PortInUse")
      assert.include(error.message, String(port))
      assert.include(error.remedy, "--port")
    }))

  it.live("refuse an address beyond loopback without TLS in front", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(listenTcp(app, { host: "0.0.0.0", port: 0 }))
      assert.strictEqual(error.reason, "NotLoopback")
    }))

  it.live("free the port when the scope closes, open streams or not", () =>
    Effect.gen(function*() {
      const scope = Scope.makeUnsafe()
      const endless = { fetch: () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("x")) })) }
      const { port, url } = yield* Scope.provide(listenTcp(endless, { port: 0 }), scope)
      const response = yield* Effect.promise(() => fetch(url))
      const reader = response.body!.getReader()
      yield* Effect.promise(() => reader.read())
      yield* Scope.close(scope, Exit.void)
      yield* Effect.promise(() => reader.read().catch(() => undefined))
      const again = yield* listenTcp(app, { port })
      assert.strictEqual(again.port, port)
    }))

  it.live("serve a Unix socket for its owner only, and replace one that a killed daemon left", () =>
    Effect.gen(function*() {
      const path = join(yield* directory, "api.sock")
      // A socket file that nobody listens on any more: a listener closed behind node's back leaves one.
      yield* Effect.promise(() => leaveStaleSocket(path))
      yield* listenUnix(app, path)
      assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      assert.strictEqual(yield* ask(path), "here")
      const error = yield* Effect.flip(listenUnix(app, path))
      assert.strictEqual(error.reason, "SocketInUse")
      assert.strictEqual(yield* ask(path), "here")
    }))

  it.live("say that a socket's path is too long", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(listenUnix(app, `/tmp/${"x".repeat(120)}.sock`))
      assert.strictEqual(error.reason, "SocketPath")
    }))
})

/** Listens in a child process and kills it: node removes the file only on an orderly close. */
const leaveStaleSocket = async (path: string): Promise<void> => {
  const { spawn } = await import("node:child_process")
  const child = spawn(process.execPath, ["-e", `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`], { stdio: ["ignore", "pipe", "inherit"] })
  await new Promise((resolve) => child.stdout.once("data", resolve))
  const ended = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGKILL")
  await ended
}
