/** A forge on loopback that takes commit statuses the way GitHub's API documents it, checks the token, and can be down. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"

export interface Status {
  readonly commit: string
  readonly state: string
  readonly context: string
  readonly description: string
}

export class Forge {
  readonly statuses: Array<Status> = []
  /** every request, answered or not */
  requests = 0
  down = false
  /** take the next status, and break the line before saying so */
  swallow = 0
  readonly #server: Server
  private constructor(server: Server) {
    this.#server = server
  }

  static start(token: string): Promise<Forge> {
    return new Promise((started) => {
      const server = createServer((request, response) => {
        forge.requests++
        let text = ""
        request.setEncoding("utf8").on("data", (chunk: string) => { text += chunk }).on("end", () => {
          const path = /^\/api\/v3\/repos\/o\/r\/(?:statuses\/([0-9a-f]{40})|commits\/([0-9a-f]{40})\/statuses)(\?.*)?$/.exec(request.url ?? "")
          if (forge.down) return void response.writeHead(503).end()
          if (request.headers.authorization !== `Bearer ${token}`) return void response.writeHead(401).end(`{"message":"Bad credentials"}`)
          if (path === null) return void response.writeHead(404).end(`{"message":"Not Found"}`)
          if (request.method === "GET") return void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(forge.statuses.filter((s) => s.commit === path[2]).toReversed()))
          forge.statuses.push({ commit: path[1] as string, ...(JSON.parse(text) as Omit<Status, "commit">) })
          if (forge.swallow > 0) {
            forge.swallow--
            return void response.destroy()
          }
          response.writeHead(201, { "content-type": "application/json" }).end("{}")
        })
      })
      const forge = new Forge(server)
      server.listen(0, "127.0.0.1", () => started(forge))
    })
  }

  get page(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/o/r`
  }

  of(commit: string): ReadonlyArray<string> {
    return this.statuses.filter((s) => s.commit === commit).map((s) => `${s.context} ${s.state}`)
  }

  close(): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((done) => this.#server.close(() => done()))
  }
}
