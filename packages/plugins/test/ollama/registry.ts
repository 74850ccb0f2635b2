/** Ollama's registry protocol, as far as `pull` speaks it, over the models directory of a real Ollama: manifests and blobs by digest, with ranges. */
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"

export const registryOver = async (models: string) => {
  const asked: Array<string> = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const refuse = (code: string): void => void response.writeHead(404, { "content-type": "application/json" }).end(JSON.stringify({ errors: [{ code, message: code }] }))
    const manifest = /^\/v2\/library\/([\w.-]+)\/manifests\/([\w.-]+)$/.exec(request.url ?? "")
    if (manifest !== null) {
      const path = join(models, "manifests/registry.ollama.ai/library", manifest[1]!, manifest[2]!)
      return existsSync(path) ? void response.end(readFileSync(path)) : refuse("MANIFEST_UNKNOWN")
    }
    // as the public one does: bytes come from a storage of another name
    const redirect = /^\/v2\/library\/[\w.-]+\/blobs\/(sha256:[0-9a-f]{64})$/.exec(request.url ?? "")
    if (redirect !== null && request.method === "GET") return void response.writeHead(307, { location: `http://localhost:${(server.address() as AddressInfo).port}/storage/${redirect[1]}` }).end()
    const blob = /^\/(?:storage|v2\/library\/[\w.-]+\/blobs)\/sha256:([0-9a-f]{64})$/.exec(request.url ?? "")
    const path = join(models, "blobs", `sha256-${blob?.[1]}`)
    if (blob === null || !existsSync(path)) return refuse("BLOB_UNKNOWN")
    const bytes = readFileSync(path)
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")
    const [from, to] = range === null ? [0, bytes.length - 1] : [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)]
    response.writeHead(range === null ? 200 : 206, { "content-length": to - from + 1 })
    response.end(request.method === "HEAD" ? undefined : bytes.subarray(from, to + 1))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}
