/** The API's client: over the home's Unix socket, or to `--api URL` with a key. No effect here: a command must answer at once. */
import type { ClientRequest, IncomingMessage } from "node:http"
import { CliError, ExitCode } from "../ExitCode.ts"

export interface Target {
  readonly socketPath?: string
  readonly url?: URL
  readonly key?: string
  /** starts the daemon again when it was killed under a command that only reads */
  readonly revive?: () => Promise<unknown>
}

const exitCodeOf = (status: number, code: string): ExitCode =>
  status === 404 ? ExitCode.notFound : code.startsWith("plan") ? ExitCode.plan : status === 401 || status === 403 || status === 409 ? ExitCode.refused : status === 503 ? ExitCode.unreachable : status === 422 ? ExitCode.plan : ExitCode.failed

/** Loaded at the first request: a plan without a daemon makes none. TLS only where the URL asks for it. */
const http = (): typeof import("node:http") => process.getBuiltinModule("node:http")
const https = (): typeof import("node:https") => process.getBuiltinModule("node:https")

const open = (target: Target, method: string, path: string, headers: Record<string, string>, signal?: AbortSignal): ClientRequest => {
  const options = { method, headers: { ...headers, ...(target.key === undefined ? {} : { authorization: `Bearer ${target.key}` }) }, ...(signal === undefined ? {} : { signal }) }
  if (target.socketPath !== undefined) return http().request({ ...options, socketPath: target.socketPath, path, headers: { host: "localhost", ...options.headers } })
  const url = new URL(path, target.url)
  return (url.protocol === "https:" ? https() : http()).request(url, options)
}

const respond = (request: ClientRequest, body?: string): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request.on("response", resolve).on("error", reject).end(body)
  })

const read = async (message: IncomingMessage): Promise<string> => {
  message.setEncoding("utf8")
  let text = ""
  for await (const chunk of message) text += chunk
  return text
}

const unreachable = (target: Target, cause: unknown): CliError =>
  new CliError(ExitCode.unreachable, `cannot reach ${target.url?.href ?? "the daemon of this home"}: ${(cause as Error).message}`, {
    code: "unreachable",
    remedy: target.url === undefined ? "run hyper doctor; the daemon's log is daemon.log in the home" : "check the URL and that hyper serve runs there"
  })

export class Api {
  readonly target: Target
  constructor(target: Target) {
    this.target = target
  }

  async send<A>(method: string, path: string, payload?: unknown, again = false): Promise<A> {
    const body = payload === undefined ? undefined : JSON.stringify(payload)
    let message: IncomingMessage
    let text: string
    try {
      message = await respond(
        open(this.target, method, path, { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) }) }),
        body
      )
      text = await read(message)
    } catch (cause) {
      // only reading is safe to repeat: a submission may have arrived before the connection broke
      if (method !== "GET" || this.target.revive === undefined || again) throw unreachable(this.target, cause)
      await this.target.revive()
      return this.send<A>(method, path, payload, true)
    }
    const status = message.statusCode ?? 0
    if (status >= 200 && status < 300) return (text === "" ? undefined : JSON.parse(text)) as A
    let problem: { code?: string; message?: string; remedy?: string } = {}
    try {
      problem = (JSON.parse(text) as { error: typeof problem }).error
    } catch {}
    const code = problem.code ?? `http_${status}`
    throw new CliError(exitCodeOf(status, code), problem.message ?? `the API answered ${status}`, { code, remedy: problem.remedy })
  }

  get = <A>(path: string): Promise<A> => this.send("GET", path)
  post = <A>(path: string, payload: unknown = {}): Promise<A> => this.send("POST", path, payload)

  /** Server-sent events until the caller leaves the loop. Connects again from the last event on when the connection breaks. */
  async *events(path: (lastId: string | undefined) => string, signal?: AbortSignal): AsyncGenerator<{ readonly type: string; readonly id: string | undefined; readonly data: string }> {
    let lastId: string | undefined
    for (let failures = 0; ; ) {
      try {
        const message = await respond(open(this.target, "GET", path(lastId), { accept: "text/event-stream", ...(lastId === undefined ? {} : { "last-event-id": lastId }) }, signal))
        if (message.statusCode !== 200) {
          const text = await read(message)
          const problem = (JSON.parse(text) as { error?: { message: string; remedy?: string; code: string } }).error
          throw new CliError(exitCodeOf(message.statusCode ?? 0, problem?.code ?? ""), problem?.message ?? `the API answered ${message.statusCode}`, { remedy: problem?.remedy })
        }
        failures = 0
        message.setEncoding("utf8")
        let buffer = ""
        for await (const chunk of message) {
          buffer += chunk as string
          for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
            const block = buffer.slice(0, end)
            buffer = buffer.slice(end + 2)
            let type = "message"
            let id: string | undefined
            const data: Array<string> = []
            for (const line of block.split("\n")) {
              if (line.startsWith("event:")) type = line.slice(6).trim()
              else if (line.startsWith("id:")) id = line.slice(3).trim()
              else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""))
            }
            if (id !== undefined && id !== "") lastId = id
            if (data.length > 0) yield { type, id, data: data.join("\n") }
          }
        }
        // whoever has seen enough has left the loop by now: the connection was cut
        throw new Error("the stream was cut off")
      } catch (cause) {
        if (cause instanceof CliError || signal?.aborted === true) throw cause
        if (++failures > 20) throw unreachable(this.target, cause)
        await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, 50 * 2 ** failures)))
        await this.target.revive?.().catch(() => undefined)
      }
    }
  }
}
