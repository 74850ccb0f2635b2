/** The hub's words: what a revision is, which files it has, where their bytes are. The token goes to the endpoint's own origin and nowhere else. */
import { HubFault } from "./HubFault.ts"

export interface HubEntry {
  readonly path: string
  readonly size: number
  /** content address: `sha256:<hex>` for large files (LFS, Xet), `git:<sha1>` of the blob for small ones */
  readonly content: string
}

export interface HubRevision {
  readonly commit: string
  /** private or gated: not everybody may read it */
  readonly restricted: boolean
}

export interface HubRepo {
  readonly type: "model" | "dataset"
  readonly name: string
}

/** A hub that does not answer must not cost minutes. */
const ANSWER_MILLIS = 30_000
const REDIRECTS = 5

const retryAfterOf = (headers: Headers): number | undefined => {
  const value = headers.get("retry-after")
  if (value === null) {
    // the hub's own form: `"api";r=0;t=57`, seconds until the window ends
    const window = /;t=(\d+)/.exec(headers.get("ratelimit") ?? "")?.[1]
    return window === undefined ? undefined : Number(window)
  }
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined
}

export const isLoopback = (url: URL): boolean => url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(url.hostname)

export class HubClient {
  readonly endpoint: string
  readonly #origin: string
  readonly #token: string | undefined

  constructor(endpoint: string, token: string | undefined) {
    this.endpoint = endpoint
    this.#origin = new URL(endpoint).origin
    this.#token = token
  }

  get hasToken(): boolean {
    return this.#token !== undefined
  }

  /** Pins a branch or tag to the commit it names now. */
  async revision(repo: HubRepo, revision: string): Promise<HubRevision> {
    const hub = await import("@huggingface/hub")
    const asked = { name: repo.name, revision, hubUrl: this.endpoint, fetch: this.#fetch, additionalFields: ["sha" as const] }
    const info = repo.type === "model" ? await hub.modelInfo(asked) : await hub.datasetInfo(asked)
    if (!/^[0-9a-f]{40}$/.test(info.sha)) throw new HubFault(0, "BadAnswer", "a model description without a commit")
    return { commit: info.sha, restricted: info.private || info.gated !== false }
  }

  /** Files of one directory (the repository's own where `directory` is empty) at a commit. */
  async files(repo: HubRepo, commit: string, directory = ""): Promise<ReadonlyArray<HubEntry>> {
    const { listFiles } = await import("@huggingface/hub")
    const entries: Array<HubEntry> = []
    const path = directory === "" ? {} : { path: directory.split("/").map(encodeURIComponent).join("/") }
    for await (const entry of listFiles({ repo, revision: commit, hubUrl: this.endpoint, fetch: this.#fetch, ...path })) {
      if (entry.type !== "file") continue
      // what this list says is what bytes are checked against, so it must be of the right form
      if (entry.lfs !== undefined && /^[0-9a-f]{64}$/.test(entry.lfs.oid)) entries.push({ path: entry.path, size: entry.lfs.size, content: `sha256:${entry.lfs.oid}` })
      else if (entry.lfs === undefined && /^[0-9a-f]{40}$/.test(entry.oid ?? "")) entries.push({ path: entry.path, size: entry.size, content: `git:${entry.oid}` })
      else throw new HubFault(0, "BadAnswer", `no digest for ${entry.path}`)
    }
    return entries
  }

  /** Bytes from `from` on: 206 with them, 200 with all, 416 where there are none. Others reject with HubFault. */
  async open(repo: HubRepo, commit: string, path: string, from: number, signal: AbortSignal): Promise<Response> {
    const prefix = repo.type === "dataset" ? "datasets/" : ""
    const url = `${this.endpoint}/${prefix}${repo.name}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`
    const response = await this.#follow(url, { headers: from > 0 ? { range: `bytes=${from}-` } : {}, signal })
    if (response.status === 416) return response
    return this.#checked(response)
  }

  readonly #fetch: typeof fetch = async (input, init) => {
    const response = await this.#follow(String(input), { ...init, signal: AbortSignal.timeout(ANSWER_MILLIS) })
    return this.#checked(response)
  }

  /** Redirects one by one: storage elsewhere gets the request without the token. */
  async #follow(start: string, init: RequestInit): Promise<Response> {
    let url = new URL(start)
    for (let hop = 0; hop <= REDIRECTS; hop++) {
      const headers = new Headers(init.headers)
      headers.delete("authorization")
      if (this.#token !== undefined && url.origin === this.#origin) headers.set("authorization", `Bearer ${this.#token}`)
      headers.set("accept-encoding", "identity") // a range is of the file's own bytes
      const response = await fetch(url, { ...init, headers, redirect: "manual" })
      const location = response.headers.get("location")
      if (response.status < 300 || response.status > 399 || location === null) return response
      await response.body?.cancel()
      const next = new URL(location, url)
      if (url.protocol === "https:" && next.protocol !== "https:") throw new HubFault(0, "BadRedirect", `a redirect from https to ${next.protocol}//${next.host}`)
      url = next
    }
    throw new HubFault(0, "BadRedirect", "too many redirects")
  }

  async #checked(response: Response): Promise<Response> {
    if (response.ok) return response
    await response.body?.cancel()
    throw new HubFault(response.status, response.headers.get("x-error-code") ?? "", response.headers.get("x-error-message") ?? `HTTP ${response.status}`, retryAfterOf(response.headers))
  }
}
