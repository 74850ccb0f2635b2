/**
 * A server that speaks the hub's endpoints: model and data-set info, tree (in pages, by Link header), resolve with ranges and redirects
 * (small files on the hub itself, large ones at a storage host of another origin). The shapes are those that @huggingface/hub's own
 * specs hold for the real hub.
 */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export const TOKEN = "hf_testtoken0123456789abcdef"
export const COMMIT = "dd4bc8b21efa05ec961e3efc4ee5e3832a3679c7"

export interface Repo {
  readonly type: "model" | "dataset"
  readonly id: string
  readonly files: Record<string, Buffer>
  readonly private?: boolean
  readonly gated?: "auto"
}

export interface Faults {
  /** path: cut each answer for it off after so many bytes, so many times */
  cut?: { path: string; after: number; times: number }
  /** path: bytes that come instead, though the list says otherwise */
  swap?: { path: string; bytes: Buffer }
  /** answer 429 so many times */
  limit?: number
  /** storage ignores ranges */
  noRanges?: boolean
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")
const gitBlob = (bytes: Buffer): string => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
const isLarge = (path: string): boolean => path.endsWith(".safetensors") || path.endsWith(".bin") || path.endsWith(".jsonl")

const fail = (response: ServerResponse, status: number, code: string, message: string, headers = {}): void =>
  void response.writeHead(status, { "content-type": "application/json", "x-error-code": code, "x-error-message": message, ...headers }).end(JSON.stringify({ error: message }))

const listen = (server: Server): Promise<string> => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)))

export interface Hub {
  readonly url: string
  readonly requests: Array<{ readonly host: "hub" | "storage"; readonly path: string; readonly authorization: string | undefined; readonly range: string | undefined }>
  readonly faults: Faults
  /** bytes of files that went out */
  sent: number
  readonly close: () => Promise<void>
}

export const startHub = async (repos: ReadonlyArray<Repo>): Promise<Hub> => {
  const requests: Hub["requests"] = []
  const faults: Faults = {}
  const send = (request: IncomingMessage, response: ServerResponse, path: string, stored: Buffer, headers: Record<string, string>): void => {
    const bytes = faults.swap?.path === path ? faults.swap.bytes : stored
    const from = faults.noRanges === true ? 0 : Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0)
    if (from >= bytes.length && from > 0) return void response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end()
    const body = bytes.subarray(from)
    response.writeHead(from > 0 ? 206 : 200, { ...headers, "content-length": body.length, "accept-ranges": "bytes", ...(from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}) })
    if (faults.cut?.path === path && faults.cut.times > 0) {
      faults.cut.times -= 1
      const part = body.subarray(0, faults.cut.after)
      hub.sent += part.length
      return void response.write(part, () => setTimeout(() => response.destroy(), 20))
    }
    hub.sent += body.length
    response.end(body)
  }

  const found = (type: string, id: string): Repo | undefined => repos.find((repo) => repo.type === type && repo.id === id)
  const storage = createServer((request, response) => {
    requests.push({ host: "storage", path: request.url ?? "", authorization: request.headers.authorization, range: request.headers.range })
    const [, id = "", path = ""] = /^\/(.+)::(.+)$/.exec(decodeURIComponent(request.url ?? "")) ?? []
    const bytes = repos.find((repo) => repo.id === id)?.files[path]
    if (bytes === undefined) return void response.writeHead(404).end()
    send(request, response, path, bytes, { etag: `"${sha256(bytes)}"` })
  })
  const storageUrl = await listen(storage)

  const main = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://hub")
    requests.push({ host: "hub", path: decodeURIComponent(url.pathname), authorization: request.headers.authorization, range: request.headers.range })
    if ((faults.limit ?? 0) > 0) {
      faults.limit = (faults.limit ?? 0) - 1
      return fail(response, 429, "", "We had to rate limit you", { "retry-after": "37" })
    }
    const path = decodeURIComponent(url.pathname)
    const authorized = request.headers.authorization === `Bearer ${TOKEN}`
    if (request.headers.authorization !== undefined && !authorized) return fail(response, 401, "", "Invalid credentials in Authorization header")
    const guard = (repo: Repo | undefined): repo is Repo => {
      if (repo === undefined || (repo.private === true && !authorized)) {
        fail(response, authorized ? 404 : 401, "RepoNotFound", authorized ? "Repository not found" : "Invalid username or password.")
        return false
      }
      return true
    }
    const info = /^\/api\/(model|dataset)s\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path)
    if (info !== null) {
      const repo = found(info[1] ?? "", info[2] ?? "")
      if (!guard(repo)) return
      if (![COMMIT, "main", "HEAD"].includes(info[3] ?? "")) return fail(response, 404, "RevisionNotFound", `Invalid rev id: ${info[3]}`)
      return void response.writeHead(200, { "content-type": "application/json" }).end(
        JSON.stringify({ _id: "621ffdc036468d709f174338", id: repo.id, sha: COMMIT, private: repo.private ?? false, gated: repo.gated ?? false, pipeline_tag: "text-generation", downloads: 1, likes: 1, lastModified: "2025-02-04T10:11:12.000Z" })
      )
    }
    const tree = /^\/api\/(model|dataset)s\/([^/]+\/[^/]+)\/tree\/([0-9a-f]{40})(?:\/(.+))?$/.exec(path)
    if (tree !== null) {
      const repo = found(tree[1] ?? "", tree[2] ?? "")
      if (!guard(repo)) return
      const prefix = tree[4] === undefined ? "" : `${tree[4]}/`
      const names = Object.keys(repo.files).filter((name) => name.startsWith(prefix))
      if (names.length === 0) return fail(response, 404, "EntryNotFound", `${tree[4]} does not exist on "main"`)
      const entries = [
        { type: "directory", oid: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", size: 0, path: `${prefix}runs` },
        ...names
          .filter((name) => !name.slice(prefix.length).includes("/"))
          .map((name) => {
            const bytes = repo.files[name] as Buffer
            return { type: "file", oid: isLarge(name) ? createHash("sha1").update(name).digest("hex") : gitBlob(bytes), size: bytes.length, ...(isLarge(name) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 }, xetHash: sha256(Buffer.from(name)) } : {}), path: name }
          })
      ]
      // pages of three, so that the list's continuation is followed
      const cursor = Number(url.searchParams.get("cursor") ?? 0)
      url.searchParams.set("cursor", String(cursor + 3))
      const link = cursor + 3 < entries.length ? { link: `<http://${request.headers.host}${url.pathname}${url.search}>; rel="next"` } : {}
      return void response.writeHead(200, { "content-type": "application/json", ...link }).end(JSON.stringify(entries.slice(cursor, cursor + 3)))
    }
    const resolve = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(path)
    if (resolve !== null) {
      const repo = found(resolve[1] === undefined ? "model" : "dataset", resolve[2] ?? "")
      if (!guard(repo)) return
      if (repo.gated !== undefined && !authorized) return fail(response, 401, "GatedRepo", `Access to model ${repo.id} is restricted. You must have access to it and be authenticated to access it. Please log in.`)
      const name = resolve[4] ?? ""
      const bytes = repo.files[name]
      if (bytes === undefined) return fail(response, 404, "EntryNotFound", "Entry not found")
      const linked = { "x-repo-commit": COMMIT, "x-linked-size": String(bytes.length), "x-linked-etag": `"${isLarge(name) ? sha256(bytes) : gitBlob(bytes)}"` }
      if (isLarge(name)) return void response.writeHead(302, { ...linked, location: `${storageUrl}/${encodeURIComponent(`${repo.id}::${name}`)}` }).end()
      return void response.writeHead(307, { ...linked, location: `/api/resolve-cache/${repo.type}s/${repo.id}/${COMMIT}/${name}` }).end()
    }
    const cached = /^\/api\/resolve-cache\/(model|dataset)s\/([^/]+\/[^/]+)\/[0-9a-f]{40}\/(.+)$/.exec(path)
    const repo = cached === null ? undefined : found(cached[1] ?? "", cached[2] ?? "")
    const bytes = repo?.files[cached?.[3] ?? ""]
    if (bytes === undefined) return fail(response, 404, "EntryNotFound", "Entry not found")
    send(request, response, cached?.[3] ?? "", bytes, { etag: `"${gitBlob(bytes)}"` })
  })
  const hub: Hub = {
    url: await listen(main),
    requests,
    faults,
    sent: 0,
    close: async () => {
      for (const server of [main, storage]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    }
  }
  return hub
}
