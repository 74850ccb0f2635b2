/** One home for one test: runs `hyper` as a user would, looks at what runs under that home, and ends all of it. */
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"

export const repository = resolve(import.meta.dirname, "../../..")
const program = join(repository, "packages/cli/bin/hyper.js")

export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Hyper {
  readonly home: string
  readonly env: Record<string, string>
  readonly #children = new Set<ChildProcess>()

  constructor(env: Record<string, string> = {}) {
    this.home = mkdtempSync(join(tmpdir(), "hy-"))
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([k, v]) => v !== undefined && !k.startsWith("HYPER_") && !k.startsWith("VITEST") && k !== "NODE_OPTIONS")) as Record<string, string>
    this.env = { ...inherited, ...(process.env["HYPER_PYTHON"] === undefined ? {} : { HYPER_PYTHON: process.env["HYPER_PYTHON"] }), HYPER_HOME: join(this.home, "h"), HYPER_CACHE: join(this.home, "c"), HYPER_GATEWAY_PORT: "", ...env }
  }

  get root(): string {
    return this.env["HYPER_HOME"] as string
  }

  start(...args: ReadonlyArray<string>): { readonly child: ChildProcess; readonly done: Promise<Result> } {
    const child = spawn(process.execPath, [program, ...args], { cwd: repository, env: this.env, stdio: ["ignore", "pipe", "pipe"] })
    this.#children.add(child)
    let stdout = ""
    let stderr = ""
    child.stdout?.on("data", (chunk: Buffer) => { stdout += chunk.toString() })
    child.stderr?.on("data", (chunk: Buffer) => { stderr += chunk.toString() })
    const done = new Promise<Result>((finish) => child.once("close", (code) => { this.#children.delete(child); finish({ code, stdout, stderr }) }))
    return { child, done }
  }

  run(...args: ReadonlyArray<string>): Promise<Result> {
    return this.start(...args).done
  }

  /** Lines of `--json` output. */
  static lines(result: Result): Array<Record<string, unknown>> {
    return result.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  daemonPid(): number | undefined {
    try {
      return (JSON.parse(readFileSync(join(this.root, "daemon.json"), "utf8")) as { pid: number }).pid
    } catch {
      return undefined
    }
  }

  async get<A>(path: string): Promise<A | undefined> {
    const { socket } = JSON.parse(readFileSync(join(this.root, "daemon.json"), "utf8")) as { socket: string }
    return new Promise((finish) => {
      request({ socketPath: socket, path, headers: { host: "localhost" } }, (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => { text += chunk }).on("error", () => finish(undefined)).on("end", () => finish(response.statusCode === 200 ? (JSON.parse(text) as A) : undefined))
      }).on("error", () => finish(undefined)).end()
    })
  }

  async events(runId: string): Promise<ReadonlyArray<StoredEvent>> {
    return (await this.get<{ events: ReadonlyArray<StoredEvent> }>(`/api/v1/runs/${runId}/events`))?.events ?? []
  }

  /** Polls until `found` gives something; undefined after `millis`. */
  static async until<A>(found: () => A | undefined | Promise<A | undefined>, millis = 120_000): Promise<A | undefined> {
    for (const end = Date.now() + millis; Date.now() < end; await sleep(25)) {
      try {
        const value = await found()
        if (value !== undefined) return value
      } catch {
        // the daemon is on its way
      }
    }
    return undefined
  }

  /** Processes that belong to this home: named by path in their command line or environment. */
  processes(): Array<{ readonly pid: number; readonly command: string }> {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ")
        const environment = readFileSync(`/proc/${name}/environ`, "utf8")
        const state = /^State:\s+(\S)/m.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1]
        return state !== "Z" && Number(name) !== process.pid && (command.includes(this.home) || environment.includes(this.home)) ? [{ pid: Number(name), command }] : []
      } catch {
        return []
      }
    })
  }

  /** Ends everything and removes the home. Returns what `hyper stop` left behind, which must be nothing. */
  async close(): Promise<Array<string>> {
    for (const child of this.#children) child.kill("SIGKILL")
    await this.run("stop")
    await Hyper.until(() => (this.processes().length === 0 ? true : undefined), 5_000)
    const left = this.processes()
    for (const { pid } of left) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // gone meanwhile
      }
    }
    await sleep(50)
    rmSync(this.home, { recursive: true, force: true })
    return left.map(({ command }) => command)
  }
}

/** The check of every kill test: no step is started, and none ended, after it has ended. */
export const runTwice = (events: ReadonlyArray<StoredEvent>): Array<string> => {
  const ended = new Set<string>()
  return events.flatMap(({ event }) => {
    const again = (event._tag === "StepStarted" || event._tag === "StepEnded" || event._tag === "StepCached") && ended.has(event.step)
    if (event._tag === "StepEnded" || event._tag === "StepCached") ended.add(event.step)
    return again ? [`${event._tag} ${event.step}`] : []
  })
}
