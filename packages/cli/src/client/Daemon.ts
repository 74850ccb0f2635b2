/** Finds the home's daemon, or starts it. `daemon.json` in the home says who it is; a connection to its socket says that it lives. */
import { spawn } from "node:child_process"
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { type Home, homeFromEnv } from "@hypernode/engine/Home"
import { programPath } from "@hypernode/engine/program"
import { CliError, ExitCode } from "../ExitCode.ts"
import { version } from "../version.ts"
import { Api } from "./Api.ts"

export interface DaemonFile {
  readonly pid: number
  readonly version: string
  readonly socket: string
}

/** What a daemon writes when it could not start; beside daemon.json, which may be another daemon's. */
export interface DaemonFailure {
  readonly pid: number
  readonly message: string
  readonly remedy?: string
}
export const failureFileOf = (home: Home): string => join(home.root, "daemon-failure.json")

const readFailure = (home: Home, pid: number | undefined): DaemonFailure | undefined => {
  try {
    const failure = JSON.parse(readFileSync(failureFileOf(home), "utf8")) as DaemonFailure
    return failure.pid === pid ? failure : undefined
  } catch {
    return undefined
  }
}

export const currentHome = (): Home => homeFromEnv(process.env, process.cwd())
export const socketOf = (home: Home): string => join(home.sockets, "api.sock")
export const daemonFileOf = (home: Home): string => join(home.root, "daemon.json")
export const daemonLogOf = (home: Home): string => join(home.root, "daemon.log")

export const readDaemonFile = (home: Home): DaemonFile | undefined => {
  try {
    return JSON.parse(readFileSync(daemonFileOf(home), "utf8")) as DaemonFile
  } catch {
    return undefined
  }
}

export const answers = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    if (!existsSync(socket)) return resolve(false)
    const probe = connect(socket)
    probe.once("connect", () => { probe.destroy(); resolve(true) }).once("error", () => resolve(false))
  })

/** A home is made once, closed to others, and keeps itself out of git. */
export const makeHome = (home: Home): void => {
  try {
    mkdirSync(home.root, { recursive: true, mode: 0o700 })
    if (!existsSync(join(home.root, ".gitignore"))) writeFileSync(join(home.root, ".gitignore"), "*\n")
    statSync(home.root)
  } catch (cause) {
    throw new CliError(ExitCode.refused, `the home ${home.root} cannot be written: ${(cause as Error).message}`, { code: "home_unwritable", remedy: "set HYPER_HOME to a directory you may write" })
  }
}

export const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Longer than any start may take: a lock older than this was left by a killed command whose pid somebody else has by now. */
const START_LOCK_MILLIS = 150_000

/** True for the one command that may start the daemon now; the others wait for its socket. A lock of a dead command is taken over. */
const takeStartLock = (path: string): boolean => {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx", mode: 0o600 })
    return true
  } catch {
    let owner = Number.NaN
    let age = 0
    try {
      owner = Number(readFileSync(path, "utf8"))
      age = Date.now() - statSync(path).mtimeMs
    } catch {}
    if (owner > 0 && alive(owner) && age < START_LOCK_MILLIS) return false
    rmSync(path, { force: true })
    return false
  }
}

const start = async (home: Home, meanwhile: Meanwhile | undefined): Promise<void> => {
  makeHome(home)
  const lock = join(home.root, "daemon.starting")
  while (!takeStartLock(lock)) {
    if (await answers(socketOf(home))) return
    await sleep(20)
  }
  try {
    if (!(await answers(socketOf(home)))) await startDaemon(home, meanwhile)
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Called once, when this command has started a daemon and has nothing to do until that answers. */
export type Meanwhile = () => void

const startDaemon = async (home: Home, meanwhile: Meanwhile | undefined): Promise<void> => {
  const log = openSync(daemonLogOf(home), "a", 0o600)
  // by URL: with --import, a path is looked for as a package
  const resolve = new URL("../../bin/resolve.js", import.meta.url).href
  // a start makes much that lives: in a young generation of 1 MB, V8 would copy it about, an eighth of the time
  const child = spawn(process.execPath, ["--min-semi-space-size=16", "--import", resolve, programPath(import.meta.url, "../daemon/main"), home.root, home.cache], {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: process.cwd(),
    env: { NODE_COMPILE_CACHE: join(home.cache, "compile"), ...process.env }
  })
  closeSync(log)
  let exited: number | null | undefined
  child.once("exit", (code) => { exited = code ?? 1 })
  child.unref()
  meanwhile?.()
  for (let waited = 0; waited < 120_000; waited += 15) {
    if (await answers(socketOf(home))) return
    if (exited !== undefined) {
      // another command may have won the race to start it
      if (await answers(socketOf(home))) return
      const failure = readFailure(home, child.pid)
      throw new CliError(ExitCode.refused, failure?.message ?? `the daemon ended at once (exit code ${exited})`, { code: "daemon_start", remedy: failure?.remedy ?? `read ${daemonLogOf(home)}` })
    }
    await sleep(15)
  }
  throw new CliError(ExitCode.unreachable, "the daemon did not answer within 2 minutes", { code: "daemon_start", remedy: `read ${daemonLogOf(home)}` })
}

/** The client of this home's API. Starts the daemon when it is not there; replaces one of another version when it is idle. */
export const daemon = async (options: { readonly start?: boolean; readonly meanwhile?: Meanwhile } = {}): Promise<Api | undefined> => {
  const home = currentHome()
  const socketPath = socketOf(home)
  const api = new Api({ socketPath, ...(options.start === false ? {} : { revive: () => daemon() }) })
  if (await answers(socketPath)) {
    const running = readDaemonFile(home)
    if (running === undefined || running.version === version) return api
    const { busy } = await api.get<{ readonly busy: boolean }>("/api/v1/daemon")
    if (busy) {
      process.stderr.write(`The daemon of this home is hyper ${running.version} and is busy; it goes on until its runs end. This is hyper ${version}.\n`)
      return api
    }
    await api.post("/api/v1/daemon/stop", {})
    while (await answers(socketPath)) await sleep(20)
  }
  if (options.start === false) return undefined
  await start(home, options.meanwhile)
  return api
}

/** `--api URL` (key in HYPER_API_KEY), or the home's own daemon. */
export const apiFor = async (url: string | undefined, meanwhile?: Meanwhile): Promise<Api> => {
  if (url === undefined) return (await daemon(meanwhile === undefined ? {} : { meanwhile })) as Api
  if (!URL.canParse(url)) throw new CliError(ExitCode.usage, `--api ${url} is not a URL`, { remedy: "for example --api https://hyper.example.org" })
  const key = process.env["HYPER_API_KEY"]
  return new Api({ url: new URL(url), ...(key === undefined ? {} : { key }) })
}
