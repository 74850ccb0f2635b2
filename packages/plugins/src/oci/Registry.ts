/**
 * One repository of a registry, in the words of opencontainers/distribution-spec 1.1 ("Pull", "Push"; end-2 to end-11). Blobs go up whole
 * (POST, then one PUT): a registry checks the digest before it shows them. Credentials go to the registry's own origin and nowhere else.
 */
import { createHash } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import type { Authorization } from "./Authorization.ts"
import { type Answer, type Asked, drained, exchange, type FileBody, textOf } from "./exchange.ts"
import { MANIFEST_MEDIA_TYPE } from "./ModelPack.ts"
import { DIGEST } from "./Reference.ts"
import { DigestFault, isBlip, RegistryFault } from "./RegistryFault.ts"

/** Four megabytes are what every registry and client is to support (distribution-spec 1.1, "Pushing Manifests"); more is not read. */
const MANIFEST_LIMIT = 4 << 20
const ERROR_LIMIT = 65_536
const REDIRECTS = 5
/** tries of one request that is cut off, the first included; then it is the durable layer's turn */
const TRIES = 4
const BACKOFF_MILLIS = 250
const ACCEPT = [MANIFEST_MEDIA_TYPE, "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"].join(", ")

export interface Manifest {
  readonly bytes: Buffer
  /** as the registry says it; the caller hashes the bytes */
  readonly digest: string | undefined
}

interface Call extends Omit<Asked, "url" | "headers" | "signal"> {
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Absent where there is none, or one by another algorithm: the header is optional, and is a second check only. */
const digestHeader = (answer: Answer): string | undefined => {
  const value = answer.headers["docker-content-digest"]
  return typeof value === "string" && DIGEST.test(value) ? value : undefined
}

const retryAfterOf = (value: string | undefined): number | undefined => {
  const seconds = value === undefined ? Number.NaN : /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined
}

export class Registry {
  readonly #origin: string
  readonly #repository: string
  readonly #authorization: Authorization
  readonly #scopes: ReadonlyArray<string>

  /** `mountFrom`: a repository of the same registry that may hold some of the blobs. */
  constructor(origin: string, repository: string, authorization: Authorization, actions: "pull" | "pull,push", mountFrom?: string) {
    this.#origin = origin
    this.#repository = repository
    this.#authorization = authorization
    this.#scopes = [`repository:${repository}:${actions}`, ...(mountFrom === undefined ? [] : [`repository:${mountFrom}:pull`])]
  }

  /** What the tag or digest names now: its digest; undefined where there is nothing. */
  async resolve(reference: string, signal: AbortSignal): Promise<string | undefined> {
    const answer = await this.#patiently(() => this.#call({ method: "HEAD", path: `manifests/${reference}`, headers: { accept: ACCEPT } }, signal), signal)
    await drained(answer.body)
    if (answer.status === 404) return undefined
    if (answer.status !== 200) throw await this.#fault(answer)
    // the header is optional: then the manifest itself says it
    return digestHeader(answer) ?? `sha256:${createHash("sha256").update((await this.manifest(reference, signal)).bytes).digest("hex")}`
  }

  manifest(reference: string, signal: AbortSignal): Promise<Manifest> {
    return this.#patiently(async () => {
      const answer = await this.#call({ method: "GET", path: `manifests/${reference}`, headers: { accept: ACCEPT } }, signal)
      if (answer.status !== 200) throw await this.#fault(answer)
      const { bytes, whole } = await textOf(answer.body, MANIFEST_LIMIT)
      if (!whole) throw new RegistryFault("sends a manifest of more than 4 MiB")
      return { bytes, digest: digestHeader(answer) }
    }, signal)
  }

  /** Stores it under `reference`, a digest or a tag. What the registry says that it stored must be `digest`. */
  async putManifest(reference: string, digest: string, text: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#patiently(() => this.#call({ method: "PUT", path: `manifests/${reference}`, headers: { "content-type": MANIFEST_MEDIA_TYPE }, body: text }, signal), signal)
    if (answer.status !== 201) throw await this.#fault(answer)
    await drained(answer.body)
    this.#same(digest, answer, "the manifest")
  }

  async #hasBlob(digest: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#call({ method: "HEAD", path: `blobs/${digest}` }, signal)
    await drained(answer.body)
    if (answer.status === 404) return false
    if (answer.status !== 200) throw await this.#fault(answer)
    return true
  }

  /** Where it is not there yet: mounted from another repository if the registry can, else sent. Bytes of a try that was cut off are taken back. */
  pushBlob(digest: string, file: FileBody, mountFrom: string | undefined, signal: AbortSignal): Promise<"there" | "mounted" | "sent"> {
    let counted = 0
    const body: FileBody = { ...file, onBytes: (bytes) => (counted += bytes, file.onBytes(bytes)) }
    return this.#patiently(async () => {
      file.onBytes(-counted)
      counted = 0
      if (await this.#hasBlob(digest, signal)) return "there"
      const from = mountFrom === undefined || mountFrom === this.#repository ? "" : `&from=${encodeURIComponent(mountFrom)}`
      // without `from` a registry may look for the blob itself (1.1), or open an upload as if nothing had been asked
      let opened = await this.#call({ method: "POST", path: `blobs/uploads/?mount=${digest}${from}` }, signal)
      // one that does not know the question, or may not answer it, still takes the blob
      if (opened.status >= 400 && opened.status < 500 && opened.status !== 429) {
        await drained(opened.body)
        opened = await this.#call({ method: "POST", path: "blobs/uploads/" }, signal)
      }
      if (opened.status !== 201 && opened.status !== 202) throw await this.#fault(opened)
      await drained(opened.body)
      if (opened.status === 201) return "mounted"
      const upload = this.#location(opened)
      upload.searchParams.set("digest", digest)
      const stored = await this.#send({ method: "PUT", url: upload, headers: { "content-type": "application/octet-stream" }, body }, signal)
      if (stored.status !== 201) throw await this.#fault(stored)
      await drained(stored.body)
      this.#same(digest, stored, "a blob")
      return "sent"
    }, signal)
  }

  /** Bytes from `from` on: 206 with them, 200 with all, 416 where there are none. Not tried again here: the caller knows what has come. */
  async openBlob(digest: string, from: number, signal: AbortSignal): Promise<Answer> {
    const answer = await this.#call({ method: "GET", path: `blobs/${digest}`, headers: { "accept-encoding": "identity", ...(from > 0 && { range: `bytes=${from}-` }) } }, signal)
    if (answer.status !== 200 && answer.status !== 206 && answer.status !== 416) throw await this.#fault(answer)
    return answer
  }

  #same(digest: string, answer: Answer, what: string): void {
    const said = digestHeader(answer)
    if (said !== undefined && said !== digest) throw new DigestFault(`${new URL(this.#origin).host} says that it stored ${what} as ${said}, and ${digest} was sent.`)
  }

  #location(answer: Answer): URL {
    const { location } = answer.headers
    if (location === undefined || !URL.canParse(location, this.#origin)) throw new RegistryFault("opens an upload without saying where")
    const url = new URL(location, this.#origin)
    if (this.#origin.startsWith("https:") && url.protocol !== "https:") throw new RegistryFault(`is spoken to by https and sends uploads to ${url.protocol}//${url.host}`, { code: "DOWNGRADE" })
    return url
  }

  #call({ path, ...call }: Call, signal: AbortSignal): Promise<Answer> {
    return this.#send({ headers: {}, ...call, url: new URL(`${this.#origin}/v2/${this.#repository}/${path}`) }, signal)
  }

  /** Answers to challenges, and to redirects of what is only read: those may lead to storage elsewhere, without the credentials. */
  async #send(asked: Omit<Asked, "signal">, signal: AbortSignal): Promise<Answer> {
    let url = asked.url
    for (let challenges = 0, hops = 0; ; ) {
      const own = url.origin === new URL(this.#origin).origin
      const authorization = own ? await this.#authorization.header(this.#scopes, signal) : undefined
      const answer = await exchange({ ...asked, url, headers: { ...asked.headers, ...(authorization !== undefined && { authorization }) }, signal })
      if (answer.status === 401 && own && challenges++ < 2) {
        const wanted = answer.headers["www-authenticate"]
        if (!this.#authorization.learn(wanted, this.#scopes, authorization)) return answer
        await drained(answer.body)
        continue
      }
      const { location } = answer.headers
      const moved = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined && (asked.method === "GET" || asked.method === "HEAD")
      if (!moved) return answer
      await drained(answer.body)
      const next = URL.canParse(location, url) ? new URL(location, url) : undefined
      if (next === undefined || hops++ >= REDIRECTS) throw new RegistryFault("redirects without end")
      if (url.protocol === "https:" && next.protocol !== "https:") throw new RegistryFault(`redirects from https to ${next.protocol}//${next.host}`, { code: "DOWNGRADE" })
      url = next
    }
  }

  /** Once more where the way was cut; what the registry itself answers is an answer. */
  async #patiently<A>(attempt: () => Promise<A>, signal: AbortSignal): Promise<A> {
    for (let tries = 1; ; tries++) {
      try {
        return await attempt()
      } catch (error) {
        if (signal.aborted || tries >= TRIES || !isBlip(error)) throw error
        await sleep(BACKOFF_MILLIS * 2 ** (tries - 1), undefined, { signal })
      }
    }
  }

  async #fault(answer: Answer): Promise<RegistryFault> {
    const text = await textOf(answer.body, ERROR_LIMIT).then(({ bytes }) => bytes.toString("utf8"), () => "")
    let error: { readonly code?: unknown; readonly message?: unknown; readonly detail?: unknown } = {}
    try {
      error = (JSON.parse(text) as { readonly errors: ReadonlyArray<typeof error> }).errors[0] ?? {}
    } catch {
      // a proxy's page, say: its status is what counts
    }
    const words = [error.message, error.detail].filter((part) => part !== undefined && part !== null).map((part) => (typeof part === "string" ? part : JSON.stringify(part)))
    return new RegistryFault(`answers HTTP ${answer.status}`, {
      status: answer.status,
      code: typeof error.code === "string" && /^\w{1,64}$/.test(error.code) ? error.code : "",
      detail: this.#authorization.redact(words.join(": ")).replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, 300),
      retryAfter: retryAfterOf(answer.headers["retry-after"])
    })
  }
}
