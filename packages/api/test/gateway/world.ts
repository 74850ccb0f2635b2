/** A gateway process over a temporary directory, a key of our own to sign with, and an upstream that speaks OpenAI. */
import { type ChildProcess, spawn } from "node:child_process"
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type GatewayKey, type GatewayRoute, keyHash, keyHint } from "@hypernode/engine/endpoints/GatewaySnapshot"
import { gatewayFiles, type GatewayState, type UsageRecord } from "@hypernode/engine/endpoints/GatewayState"

export const GATEWAY = fileURLToPath(new URL("../../src/gateway/main.ts", import.meta.url))
export const UPSTREAM_MODEL = "/models/secret-path@main"
export const KEY = "hk-test-0123456789abcdefghijklmnopqrstuvwxyz"

export const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
export const until = async <A>(what: string, look: () => A | undefined | false | Promise<A | undefined | false>): Promise<A> => {
  for (let i = 0; i < 400; i++) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    await sleep(25)
  }
  throw new Error(`did not happen: ${what}`)
}

export interface Upstream {
  readonly server: Server
  readonly url: string
  readonly bodies: Array<Record<string, unknown>>
  readonly headers: Array<IncomingMessage["headers"]>
  aborted: number
  active: number
  most: number
  close: () => Promise<void>
}

/** `say` in the last message steers it: `hang`, `slow` (until released by the test's abort), `break`, `broken json`, `detail`; else it echoes. */
export const startUpstream = async (options: { readonly socket?: string } = {}): Promise<Upstream> => {
  const bodies: Array<Record<string, unknown>> = []
  const headers: Array<IncomingMessage["headers"]> = []
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = ""
    for await (const part of request) text += String(part)
    const body = JSON.parse(text) as { messages?: Array<{ content: string }>; prompt?: string; stream?: boolean; stream_options?: { include_usage?: boolean } }
    bodies.push(body as Record<string, unknown>)
    headers.push(request.headers)
    const say = body.messages?.at(-1)?.content ?? body.prompt ?? ""
    if (request.url === "/v1/embeddings") return void response.writeHead(404).end('{"detail":"Not Found"}')
    if (say === "break") return void request.socket.destroy()
    if (say === "broken json") return void response.writeHead(200, { "content-type": "application/json" }).end("{")
    if (say === "detail") return void response.writeHead(422, { "content-type": "application/json" }).end(JSON.stringify({ detail: `no such thing in ${UPSTREAM_MODEL}` }))
    const chat = body.messages !== undefined
    const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 }
    if (body.stream !== true) {
      if (say === "hang") await new Promise((resolve) => response.on("close", resolve))
      if (say === "slow") await sleep(150)
      const choice = chat ? { index: 0, message: { role: "assistant", content: `echo ${say}` }, finish_reason: "stop" } : { index: 0, text: `echo ${say}`, finish_reason: "stop" }
      return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ id: "x", object: chat ? "chat.completion" : "text_completion", created: 1, model: UPSTREAM_MODEL, choices: [choice], usage }))
    }
    response.writeHead(200, { "content-type": "text/event-stream" })
    const send = (choices: Array<unknown>, more: object = {}) => response.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: UPSTREAM_MODEL, choices, ...more })}\n\n`)
    for (const word of ["é", "ch", "o"]) send([chat ? { index: 0, delta: { content: word }, finish_reason: null } : { index: 0, text: word, finish_reason: null }])
    if (say === "hang") return void (await new Promise((resolve) => response.on("close", resolve)))
    if (say === "break midway") {
      await sleep(20)
      return void request.socket.destroy()
    }
    send([{ index: 0, ...(chat ? { delta: {} } : { text: "" }), finish_reason: "stop" }])
    if (body.stream_options?.include_usage === true) send([], { usage })
    response.end("data: [DONE]\n\n")
  }
  const upstream = { bodies, headers, aborted: 0, active: 0, most: 0 } as unknown as Upstream
  const server = createServer((request, response) => {
    upstream.active += 1
    upstream.most = Math.max(upstream.most, upstream.active)
    response.on("close", () => {
      upstream.active -= 1
      if (!response.writableFinished) upstream.aborted += 1
    })
    answer(request, response).catch((error: Error) => response.destroy(error))
  })
  await new Promise<void>((resolve) => (options.socket === undefined ? server.listen(0, "127.0.0.1", resolve) : server.listen(options.socket, resolve)))
  return Object.assign(upstream, {
    server,
    url: options.socket === undefined ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${options.socket}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  })
}

export interface World {
  readonly directory: string
  readonly files: ReturnType<typeof gatewayFiles>
  readonly url: () => string
  readonly child: () => ChildProcess
  /** Signs (with the home's key, or another) and replaces the snapshot atomically; waits until the gateway has it unless told not to. */
  readonly publish: (version: number, routes: ReadonlyArray<GatewayRoute>, keys: ReadonlyArray<GatewayKey>, options?: { readonly by?: KeyObject; readonly wait?: boolean }) => Promise<void>
  readonly start: (env?: Record<string, string>) => Promise<GatewayState>
  readonly kill: (signal: NodeJS.Signals) => Promise<void>
  readonly usage: () => Array<UsageRecord>
  readonly health: () => Promise<{ status: string; snapshot: number; refused?: string; sequence: number }>
  readonly log: () => string
  readonly close: () => Promise<void>
}

export const route = (upstream: string, more: Partial<GatewayRoute> = {}): GatewayRoute => ({ id: "ep-one", tenant: "default", model: "support-bot", upstream, upstreamModel: UPSTREAM_MODEL, created: 1, concurrency: 8, queue: 16, ...more })
export const key = (more: Partial<GatewayKey> = {}, plain = KEY): GatewayKey => ({ hash: keyHash(plain), hint: keyHint(plain), tenant: "default", endpoints: ["ep-one"], requestsPerMinute: null, tokensPerDay: null, ...more })

export const openWorld = (): World => {
  const root = mkdtempSync(join(tmpdir(), "hgw-"))
  const directory = join(root, "gateway")
  const files = gatewayFiles(directory)
  const pair = generateKeyPairSync("ed25519")
  mkdirSync(directory, { mode: 0o700 })
  writeFileSync(files.publicKey, pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64"))
  let child: ChildProcess | undefined
  let state: GatewayState | undefined
  let log = ""
  const url = (): string => `http://127.0.0.1:${state?.port}`
  const health: World["health"] = async () => (await (await fetch(`${url()}/healthz`)).json()) as Awaited<ReturnType<World["health"]>>
  const kill: World["kill"] = async (signal) => {
    const dying = child
    if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return
    await new Promise((resolve) => {
      dying.once("exit", resolve)
      dying.kill(signal)
    })
  }
  return {
    directory,
    files,
    url,
    health,
    kill,
    child: () => child as ChildProcess,
    log: () => log,
    start: async (env = {}) => {
      rmSync(files.state, { force: true })
      const started = spawn(process.execPath, [GATEWAY, directory], { env, stdio: ["ignore", "ignore", "pipe"] })
      child = started
      started.stderr?.on("data", (data) => (log += String(data)))
      state = await until("the gateway listens", () => {
        if (started.exitCode !== null) throw new Error(`the gateway ended with ${started.exitCode}: ${log}`)
        try {
          return JSON.parse(readFileSync(files.state, "utf8")) as GatewayState
        } catch {
          return undefined
        }
      })
      return state
    },
    publish: async (version, routes, keys, options = {}) => {
      const payload = JSON.stringify({ format: 1, version, issuedAt: Date.now(), routes, keys })
      writeFileSync(`${files.snapshot}.tmp`, JSON.stringify({ payload, signature: sign(null, Buffer.from(payload), options.by ?? pair.privateKey).toString("base64") }))
      renameSync(`${files.snapshot}.tmp`, files.snapshot)
      if (options.wait !== false && state !== undefined) await until(`snapshot ${version}`, async () => (await health()).snapshot === version)
    },
    usage: () =>
      readFileSync(files.usage, "utf8")
        .split("\n")
        .filter((line) => line !== "" && !line.includes('"header"'))
        .map((line) => JSON.parse(line) as UsageRecord),
    close: async () => {
      await kill("SIGKILL")
      rmSync(root, { recursive: true, force: true })
    }
  }
}
