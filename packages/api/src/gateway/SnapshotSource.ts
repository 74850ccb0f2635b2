/** Follows `snapshot.json`: takes a newer one with a good signature, refuses any other and keeps what it has. */
import { readFileSync, renameSync, statSync, watch, writeFileSync } from "node:fs"
import { type GatewayKey, type GatewayRoute, type GatewaySnapshot, openSnapshot } from "@hypernode/engine/endpoints/GatewaySnapshot"
import type { gatewayFiles } from "@hypernode/engine/endpoints/GatewayState"

/** A snapshot made ready for requests. */
export interface Routing {
  readonly version: number
  readonly routes: ReadonlyArray<GatewayRoute>
  readonly keys: ReadonlyArray<GatewayKey & { readonly digest: Buffer; readonly own: ReadonlyArray<GatewayRoute> }>
}

const toRouting = (snapshot: GatewaySnapshot): Routing => ({
  version: snapshot.version,
  routes: snapshot.routes,
  keys: snapshot.keys.map((key) => ({
    ...key,
    digest: Buffer.from(key.hash, "hex"),
    own: snapshot.routes.filter((route) => route.tenant === key.tenant && key.endpoints.includes(route.id))
  }))
})

export class SnapshotSource {
  current: Routing = { version: 0, routes: [], keys: [] }
  /** why the file on disk is not the one in use, if so: shown by /healthz */
  refused: string | undefined
  readonly #files: ReturnType<typeof gatewayFiles>
  readonly #log: (line: string) => void
  #seen = ""

  constructor(files: ReturnType<typeof gatewayFiles>, log: (line: string) => void) {
    this.#files = files
    this.#log = log
    // the last accepted one first: its version is the floor, also after a restart
    this.#load(files.accepted, true)
    this.reload()
  }

  /** Returns the function that ends the watch. A poll stands behind fs.watch, which misses changes on some file systems. */
  follow(everyMillis = 1000): () => void {
    const timer = setInterval(() => this.reload(), everyMillis)
    timer.unref()
    const watcher = watch(this.#files.snapshot.slice(0, this.#files.snapshot.lastIndexOf("/")), (_event, name) => {
      if (name === "snapshot.json") this.reload()
    })
    watcher.on("error", (error) => this.#log(`cannot watch the gateway directory (${error.message}); polling goes on`))
    return () => {
      clearInterval(timer)
      watcher.close()
    }
  }

  reload(): void {
    try {
      const stat = statSync(this.#files.snapshot)
      const seen = `${stat.ino}:${stat.size}:${stat.mtimeMs}`
      if (seen === this.#seen) return
      this.#seen = seen
    } catch {
      return // not written yet, or being replaced: the next look finds it
    }
    this.#load(this.#files.snapshot, false)
  }

  #load(path: string, quiet: boolean): void {
    let text: string
    let publicKey: string
    try {
      text = readFileSync(path, "utf8")
      publicKey = readFileSync(this.#files.publicKey, "utf8").trim()
    } catch (error) {
      if (!quiet) this.#log(`cannot read ${path}: ${(error as Error).message}`)
      return
    }
    try {
      const snapshot = openSnapshot(text, this.#pin(publicKey))
      if (snapshot.version < this.current.version) throw new Error(`its version ${snapshot.version} is older than ${this.current.version}`)
      this.refused = undefined
      if (snapshot.version === this.current.version) return
      this.current = toRouting(snapshot)
      this.#log(`snapshot ${snapshot.version}: ${snapshot.routes.length} routes, ${snapshot.keys.length} keys`)
      if (path !== this.#files.accepted) {
        writeFileSync(`${this.#files.accepted}.tmp`, text, { mode: 0o600 })
        renameSync(`${this.#files.accepted}.tmp`, this.#files.accepted)
      }
    } catch (error) {
      this.refused = `${path.slice(path.lastIndexOf("/") + 1)} refused: ${(error as Error).message}; version ${this.current.version} stays in use`
      this.#log(this.refused)
    }
  }

  #pinned: string | undefined
  /** The key of the first look holds for the life of this process. */
  #pin(publicKey: string): string {
    return (this.#pinned ??= publicKey)
  }
}
