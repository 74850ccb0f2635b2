/** A real git server on loopback for tests: git's own `http-backend` behind Node, with basic authentication. Serves every repository below a directory. */
import { spawn, spawnSync } from "node:child_process"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"

export interface GitHttpServerOptions {
  readonly root: string
  /** `user:password`; without it, everybody may read and write */
  readonly login?: string
  /** refuses pushes, as a read-only token would */
  readonly readOnly?: boolean
}

const backend = (): string => `${spawnSync("git", ["--exec-path"], { encoding: "utf8" }).stdout.trim()}/git-http-backend`

export class GitHttpServer {
  readonly #server: Server
  readonly port: number
  /** what was asked, with the user who asked */
  readonly requests: Array<{ readonly url: string; readonly authorized: boolean }> = []

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  static start(options: GitHttpServerOptions, port = 0): Promise<GitHttpServer> {
    const program = backend()
    const expected = options.login === undefined ? undefined : `Basic ${Buffer.from(options.login).toString("base64")}`
    let started: GitHttpServer
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "/", "http://localhost")
      const authorized = expected === undefined || request.headers.authorization === expected
      started.requests.push({ url: request.url ?? "", authorized })
      if (!authorized) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end()
        return
      }
      if (options.readOnly === true && (url.pathname.endsWith("git-receive-pack") || url.searchParams.get("service") === "git-receive-pack")) {
        response.writeHead(403).end("this token may only read\n")
        return
      }
      const child = spawn(program, {
        env: {
          PATH: process.env["PATH"] ?? "/usr/bin:/bin",
          GIT_PROJECT_ROOT: options.root,
          GIT_HTTP_EXPORT_ALL: "1",
          GIT_CONFIG_NOSYSTEM: "1",
          GIT_CONFIG_COUNT: "2",
          GIT_CONFIG_KEY_0: "safe.directory",
          GIT_CONFIG_VALUE_0: "*",
          GIT_CONFIG_KEY_1: "http.receivepack",
          GIT_CONFIG_VALUE_1: "true",
          PATH_INFO: decodeURIComponent(url.pathname),
          QUERY_STRING: url.search.slice(1),
          REQUEST_METHOD: request.method ?? "GET",
          REMOTE_ADDR: "127.0.0.1",
          REMOTE_USER: "tester",
          ...(request.headers["content-type"] === undefined ? {} : { CONTENT_TYPE: request.headers["content-type"] }),
          ...(request.headers["content-encoding"] === undefined ? {} : { HTTP_CONTENT_ENCODING: request.headers["content-encoding"] }),
          ...(request.headers["git-protocol"] === undefined ? {} : { GIT_PROTOCOL: String(request.headers["git-protocol"]) })
        }
      })
      child.stdin.on("error", () => undefined)
      request.pipe(child.stdin)
      let head = Buffer.alloc(0)
      let headed = false
      child.stdout.on("data", (chunk: Buffer) => {
        if (headed) return void response.write(chunk)
        head = Buffer.concat([head, chunk])
        const end = head.indexOf("\r\n\r\n")
        if (end < 0) return
        headed = true
        const lines = head.toString("latin1", 0, end).split("\r\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()] as const)
        const status = Number(lines.find(([name]) => name.toLowerCase() === "status")?.[1].slice(0, 3) ?? 200)
        response.writeHead(status, Object.fromEntries(lines.filter(([name]) => name.toLowerCase() !== "status")))
        response.write(head.subarray(end + 4))
      })
      child.on("close", () => {
        if (!headed) response.writeHead(500)
        response.end()
      })
      response.on("close", () => child.kill())
    })
    return new Promise((resolve, reject) => {
      server.on("error", reject).listen(port, "127.0.0.1", () => {
        started = new GitHttpServer(server, (server.address() as AddressInfo).port)
        resolve(started)
      })
    })
  }

  url(repository: string): string {
    return `http://127.0.0.1:${this.port}/${repository}`
  }

  close(): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}
