/** Connections to model servers: kept alive, pooled per upstream, never told the caller's key. */
import { Agent, type IncomingMessage, request } from "node:http"

/** A body that a server sends no headers for in this time is given up. Long answers without streaming need minutes on a CPU. */
const HEADERS_TIMEOUT = 600_000

export type Answer = { readonly kind: "answer"; readonly response: IncomingMessage } | { readonly kind: "down"; readonly cause: string }

export class Upstreams {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 64, scheduling: "lifo" })

  /** Resolves at the upstream's headers. Aborting `signal` ends request and response. */
  send(upstream: string, path: string, body: Buffer, requestId: string, signal: AbortSignal, retried = false): Promise<Answer> {
    return new Promise((resolve) => {
      const target = upstream.startsWith("unix:")
        ? { socketPath: upstream.slice(5), host: "localhost" }
        : { hostname: new URL(upstream).hostname, port: new URL(upstream).port }
      const outgoing = request({
        ...target,
        agent: this.#agent,
        method: "POST",
        path,
        signal,
        headers: { "content-type": "application/json", "content-length": body.length, accept: "*/*", "x-request-id": requestId }
      })
      outgoing.setTimeout(HEADERS_TIMEOUT, () => outgoing.destroy(new Error(`no answer for ${HEADERS_TIMEOUT / 1000} s`)))
      outgoing.on("response", (response) => resolve({ kind: "answer", response }))
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        // a kept connection that the server had just closed: nothing was processed, so once more on a fresh one
        if (outgoing.reusedSocket && !retried && (error.code === "ECONNRESET" || error.code === "EPIPE") && !signal.aborted) {
          resolve(this.send(upstream, path, body, requestId, signal, true))
        } else resolve({ kind: "down", cause: error.code ?? error.message })
      })
      outgoing.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}
