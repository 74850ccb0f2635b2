/**
 * One HTTP request and the head of its answer, over node:http: a file goes out as it is read, with its length in the header, which
 * fetch cannot do for a stream (it would send chunks of unknown number, and storage behind a registry often refuses those).
 */
import { createReadStream } from "node:fs"
import http, { type IncomingMessage } from "node:http"
import https from "node:https"

/** Without one byte either way. */
const IDLE_MILLIS = 60_000
/** A registry that stores elsewhere may copy and hash a large blob before it says that it has it. */
const COMMIT_MILLIS = 600_000
const CHUNK = 1 << 20

export interface FileBody {
  readonly path: string
  /** bytes of the file, all of which are sent */
  readonly size: number
  readonly onBytes: (bytes: number) => void
}

export interface Asked {
  readonly method: "GET" | "HEAD" | "POST" | "PUT"
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | FileBody
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  /** to be read or destroyed by the caller */
  readonly body: IncomingMessage
}

/** Rejects with the system's error. An answer that comes before the body has gone out ends the sending. */
export const exchange = ({ body, headers, method, signal, url }: Asked): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const length = body === undefined ? (method === "POST" || method === "PUT" ? 0 : undefined) : typeof body === "string" ? Buffer.byteLength(body) : body.size
    const request = (url.protocol === "https:" ? https : http).request(url, {
      method,
      signal,
      headers: { ...headers, "user-agent": "hypernode", ...(length !== undefined && { "content-length": length }) }
    })
    const silent = (millis: number) => request.setTimeout(millis, () => request.destroy(Object.assign(new Error("no byte came or went"), { code: "ETIMEDOUT" })))
    silent(IDLE_MILLIS)
    request.on("error", reject)
    const file = typeof body === "object" && body.size > 0 ? createReadStream(body.path, { highWaterMark: CHUNK, end: body.size - 1 }) : undefined
    request.on("close", () => file?.destroy())
    request.on("response", (answer) => {
      if (file !== undefined && !request.writableFinished) {
        file.unpipe(request)
        file.destroy()
        answer.on("close", () => request.destroy())
      }
      resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: answer })
    })
    if (file === undefined || typeof body !== "object") return void request.end(typeof body === "string" ? body : undefined)
    request.on("finish", () => silent(COMMIT_MILLIS))
    let read = 0
    file.on("data", (chunk) => {
      read += chunk.length
      body.onBytes(chunk.length)
    })
    file.on("error", (error) => request.destroy(error))
    // the other side would wait for the rest
    file.on("end", () => read < body.size && request.destroy(Object.assign(new Error("the file is shorter than it was"), { code: "EIO" })))
    file.pipe(request)
  })

/** Up to `limit` bytes of an answer's body as text, and whether there was more. */
export const textOf = async (body: IncomingMessage, limit: number): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > limit) return { bytes: Buffer.concat(chunks).subarray(0, limit), whole: false } // leaving the loop ends the connection
  }
  return { bytes: Buffer.concat(chunks), whole: true }
}

/** Reads what is left of a short answer, so that its connection serves again. */
export const drained = async (body: IncomingMessage): Promise<void> => {
  await textOf(body, 65_536).catch(() => undefined)
}
