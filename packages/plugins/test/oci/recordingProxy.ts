/** Stands before a registry: writes down what passes, and misbehaves where it is told to. The registry's own addresses lead back through it. */
import { createServer, request as forward, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { Transform } from "node:stream"

export interface Passed {
  readonly method: string
  /** path and query, without an upload's id and state */
  readonly path: string
  /** bytes of the request's body */
  bytes: number
  status: number
  readonly authorization: string | undefined
  readonly range: string | undefined
}

export interface Faults {
  /** of requests whose "METHOD path" matches: instead of passing them on */
  answer?: { readonly match: RegExp; readonly status: number; readonly body?: string; readonly headers?: Record<string, string>; times: number; skip?: number }
  /** cuts the client off after so many bytes of an upload, so many times */
  cutUpload?: { readonly after: number; times: number }
  /** takes so many bytes of an upload and then no more, without ending it */
  stallUpload?: { readonly after: number }
  /** cuts a blob's download off after so many bytes, so many times; shorter ones pass */
  cutDownload?: { readonly after: number; times: number }
  /** answers every download from its first byte */
  noRanges?: boolean
  /** one bit of what goes up, or of a blob or manifest that comes down */
  flipUpload?: boolean
  flipDownload?: RegExp
  /** says another digest in the answers to what matches */
  lie?: RegExp
}

export interface Proxy {
  readonly host: string
  readonly passed: Array<Passed>
  faults: Faults
  /** called with the bytes of uploads so far */
  onUpload: (bytes: number) => void
  readonly uploads: () => ReadonlyArray<Passed>
  readonly close: () => Promise<void>
}

const flip = (active: boolean): Transform => {
  let first = active
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const out = Buffer.from(chunk)
      if (first && out.length > 0) out[0]! ^= 1
      first = false
      done(null, out)
    }
  })
}

export const WRONG = `sha256:${"0".repeat(64)}`

export const startProxy = async (upstream: string): Promise<Proxy> => {
  const [hostname, port] = upstream.split(":")
  let uploaded = 0
  const server = createServer((incoming, outgoing) => {
    const target = incoming.url ?? "/"
    const entry: Passed = { method: incoming.method ?? "", path: target.replace(/uploads\/[0-9a-f-]{36}/, "uploads/ID").replace(/_state=[^&]*&?/, ""), bytes: 0, status: 0, authorization: incoming.headers.authorization, range: incoming.headers.range }
    proxy.passed.push(entry)
    const { faults } = proxy
    const name = `${entry.method} ${entry.path}`
    const isUpload = entry.method === "PUT" && entry.path.includes("/uploads/")
    if (faults.answer !== undefined && faults.answer.times > 0 && faults.answer.match.test(name) && (faults.answer.skip ?? 0) > 0) faults.answer.skip!--
    else if (faults.answer !== undefined && faults.answer.times > 0 && faults.answer.match.test(name)) {
      faults.answer.times--
      entry.status = faults.answer.status
      incoming.resume()
      return void outgoing.writeHead(faults.answer.status, { "content-type": "application/json", ...faults.answer.headers }).end(faults.answer.body ?? "")
    }
    const { range: _, ...withoutRange } = incoming.headers
    const out = forward({ hostname, port, method: incoming.method, path: target, headers: faults.noRanges === true ? withoutRange : incoming.headers }, (answer) => {
      entry.status = answer.statusCode ?? 0
      const headers: IncomingHttpHeaders = { ...answer.headers }
      if (faults.lie?.test(name)) headers["docker-content-digest"] = WRONG
      outgoing.writeHead(entry.status, headers as Record<string, string>)
      let sent = 0
      const cut = faults.cutDownload !== undefined && faults.cutDownload.times > 0 && entry.method === "GET" && entry.path.includes("/blobs/") && Number(answer.headers["content-length"]) > faults.cutDownload.after ? faults.cutDownload : undefined
      if (cut !== undefined) cut.times--
      answer.pipe(flip(faults.flipDownload?.test(name) === true)).on("data", (chunk: Buffer) => {
        if (cut !== undefined && sent + chunk.length > cut.after) {
          outgoing.write(chunk.subarray(0, Math.max(0, cut.after - sent)), () => outgoing.destroy())
          answer.destroy()
        } else outgoing.write(chunk)
        sent += chunk.length
      }).on("end", () => outgoing.end())
    })
    out.on("error", () => outgoing.destroy())
    outgoing.on("close", () => out.destroy())
    const cut = isUpload && faults.cutUpload !== undefined && faults.cutUpload.times > 0 ? faults.cutUpload : undefined
    if (cut !== undefined) cut.times--
    incoming.on("data", (chunk: Buffer) => {
      entry.bytes += chunk.length
      if (!isUpload) return
      proxy.onUpload((uploaded += chunk.length))
      if (cut !== undefined && entry.bytes > cut.after) incoming.socket.destroy()
      if (faults.stallUpload !== undefined && entry.bytes > faults.stallUpload.after) incoming.unpipe().pause()
    })
    incoming.pipe(flip(isUpload && faults.flipUpload === true)).pipe(out)
    incoming.on("error", () => out.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const proxy: Proxy = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed: [],
    faults: {},
    onUpload: () => undefined,
    uploads: () => proxy.passed.filter(({ method, path }) => method === "PUT" && path.includes("/uploads/")),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
  return proxy
}
