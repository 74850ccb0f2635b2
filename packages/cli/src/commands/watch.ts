/** `hyper watch`: the daemon watches for as long as this command holds the line. When the daemon is killed, it is started and goes on; Ctrl-C ends the watch and no run. */
import { readFileSync, statSync } from "node:fs"
import { request } from "node:http"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { WatchEvent } from "@hypernode/engine/watch/WatchEvent"
import type { WatchSpec } from "@hypernode/engine/watch/WatchSpec"
import type { Api } from "../client/Api.ts"
import { daemon } from "../client/Daemon.ts"
import { CliError, ExitCode } from "../ExitCode.ts"
import { watchLines } from "../render/watch.ts"
import { handOverSecrets } from "./run.ts"

export interface WatchOptions {
  readonly branch: string
  readonly path?: string
  readonly policy?: string
  readonly once?: boolean
  readonly interval: string
  readonly json?: boolean
  readonly secret?: string
  readonly user: string
  readonly sshKey?: string
  readonly knownHosts?: string
  readonly status?: string
  readonly tokenSecret?: string
  readonly notes: boolean
  readonly acceptRewrite?: boolean
}

const usage = (message: string, remedy: string): CliError => new CliError(ExitCode.usage, message, { code: "usage", remedy })

/** Also refuses a policy that lies where others may write: who could change it could permit himself. */
const policyOf = async (file: string | undefined): Promise<WatchSpec["policy"]> => {
  if (file === undefined) return undefined
  let text: string
  try {
    const { mode } = statSync(file)
    if ((mode & 0o002) !== 0) throw new CliError(ExitCode.refused, `everybody may write to the policy file ${file}`, { code: "policy", remedy: `chmod go-w ${file}` })
    text = readFileSync(file, "utf8")
  } catch (cause) {
    if (cause instanceof CliError) throw cause
    throw new CliError(ExitCode.notFound, `the policy file ${file} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { code: "policy", remedy: 'write one, for example {"run": true, "paths": ["pipelines/"]}' })
  }
  const { readPolicy } = await import("@hypernode/engine/watch/Policy")
  try {
    return readPolicy(text)
  } catch (cause) {
    throw usage(`${file} is not a policy: ${(cause as Error).message}`, "keys: run, paths, plugins, secrets, hosts, data, unconfined, params, limits; README.md has an example")
  }
}

const specOf = async (repository: string, options: WatchOptions): Promise<WatchSpec> => {
  const [{ parseAddress, parseBranch, parsePath }, { parseForge }] = await Promise.all([import("@hypernode/engine/git/address"), import("@hypernode/engine/watch/forge")])
  const { transport, url } = parseAddress(repository)
  const interval = Number(options.interval)
  if (!(interval >= 1 && interval <= 86_400)) throw usage(`--interval ${options.interval} is not a number of seconds from 1 to 86400`, "for example --interval 30")
  if (options.secret !== undefined && transport !== "https" && transport !== "http") throw usage(`--secret is for https, and ${url} is not`, transport === "ssh" ? "for ssh: --ssh-key FILE" : "leave it out")
  if (options.sshKey !== undefined && transport !== "ssh") throw usage(`--ssh-key is for ssh, and ${url} is not`, "for https: --secret NAME")
  if ((options.status === undefined) !== (options.tokenSecret === undefined)) throw usage("--status and --token-secret belong together", "for example --status github=https://github.com/owner/repo --token-secret GITHUB_TOKEN")
  let forge: ReturnType<typeof parseForge> | undefined
  try {
    forge = options.status === undefined ? undefined : parseForge(options.status)
  } catch (cause) {
    throw usage((cause as Error).message, "for example --status github=https://github.com/owner/repo")
  }
  const access: WatchSpec["access"] =
    transport === "ssh"
      ? { kind: "ssh", knownHosts: resolve(options.knownHosts ?? join(homedir(), ".ssh/known_hosts")), ...(options.sshKey === undefined ? {} : { key: resolve(options.sshKey) }) }
      : options.secret === undefined
        ? { kind: "none" }
        : { kind: "http", user: options.user, secret: options.secret }
  const policy = await policyOf(options.policy)
  return {
    repository: url,
    branch: parseBranch(options.branch),
    path: parsePath(options.path ?? ""),
    access,
    notes: options.notes,
    once: options.once === true,
    intervalMillis: Math.round(interval * 1000),
    acceptRewrite: options.acceptRewrite === true,
    resumed: false,
    ...(policy === undefined ? {} : { policy }),
    ...(forge === undefined ? {} : { status: { ...forge, secret: options.tokenSecret as string } })
  }
}

/** Until the line ends. The last event is `end` unless the daemon was killed. */
const follow = (api: Api, spec: WatchSpec, stop: AbortSignal, tell: (event: WatchEvent) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    const body = JSON.stringify(spec)
    const call = request(
      { socketPath: api.target.socketPath, path: "/api/v1/daemon/watch", method: "POST", signal: stop, headers: { host: "localhost", "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) } },
      (response) => {
        response.setEncoding("utf8")
        let buffer = ""
        response.on("error", () => resolve())
        response.on("close", () => {
          if (response.statusCode === 200) return resolve()
          const { error } = JSON.parse(buffer) as { error: { code: string; message: string; remedy?: string } }
          reject(new CliError(ExitCode.refused, error.message, { code: error.code, remedy: error.remedy }))
        })
        response.on("data", (text: string) => {
          buffer += text
          if (response.statusCode !== 200) return
          for (let end = buffer.indexOf("\n"); end >= 0; end = buffer.indexOf("\n")) {
            const line = buffer.slice(0, end).trim()
            buffer = buffer.slice(end + 1)
            if (line !== "") tell(JSON.parse(line) as WatchEvent)
          }
        })
      }
    )
    call.on("error", () => resolve())
    call.end(body)
  })

/** The daemon was killed more often than a person would do it: something is wrong with it. */
const MOST_RESTARTS = 50

export const watch = async (repository: string, options: WatchOptions): Promise<ExitCode> => {
  let spec: WatchSpec
  try {
    spec = await specOf(repository, options)
  } catch (cause) {
    if (cause instanceof CliError) throw cause
    const { message, reason, remedy } = cause as { message: string; reason?: string; remedy?: string }
    throw new CliError(reason === "NotFound" ? ExitCode.notFound : ExitCode.usage, message, { code: "repository", remedy })
  }
  const stop = new AbortController()
  const leave = () => stop.abort()
  process.once("SIGINT", leave).once("SIGTERM", leave)
  let ended: Extract<WatchEvent, { type: "end" }> | undefined
  let looked = false
  const tell = (event: WatchEvent): void => {
    if (event.type === "end") {
      ended = event
      if (event.code !== 0 && event.message !== undefined) return
    }
    if (event.type === "head" || event.type === "commit") looked = true
    process.stdout.write(options.json === true ? `${JSON.stringify(event)}\n` : watchLines(event).map((line) => `${line}\n`).join(""))
  }
  for (let restarts = 0; !stop.signal.aborted && ended === undefined; restarts++) {
    if (restarts > MOST_RESTARTS) throw new CliError(ExitCode.unreachable, "the daemon keeps going away", { code: "unreachable", remedy: "its log is daemon.log in the home" })
    if (restarts > 0) {
      await sleep(200)
      if (options.json !== true) process.stderr.write("The daemon went away; it is started again, and the watch goes on.\n")
    }
    const api = (await daemon()) as Api
    await handOverSecrets(api, [options.secret, options.tokenSecret, ...(spec.policy?.secrets ?? [])].filter((name) => name !== undefined))
    await follow(api, { ...spec, resumed: looked }, stop.signal, tell)
  }
  process.off("SIGINT", leave).off("SIGTERM", leave)
  if (ended === undefined) {
    if (options.json !== true) process.stderr.write("No longer watching. Runs go on: hyper runs lists them.\n")
    return ExitCode.interrupted
  }
  if (ended.message !== undefined && ended.code !== 0) throw new CliError(ended.code as ExitCode, ended.message, { code: "watch", remedy: ended.remedy })
  return ended.code as ExitCode
}
