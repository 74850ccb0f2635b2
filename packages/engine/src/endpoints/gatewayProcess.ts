/** The gateway's life seen from the engine: found by its identity, started when it is not there, stopped by name and never by pid alone. */
import { spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { JobError } from "../capability/Jobs.ts"
import type { Home } from "../Home.ts"
import { isRunning, type ProcessIdentity, signalProcess } from "../jobs/ProcessIdentity.ts"
import type { GatewayProgram } from "./GatewayProgram.ts"
import { gatewayFiles, type GatewayState } from "./GatewayState.ts"

const LOG_LIMIT = 5 * 1024 * 1024

export interface GatewayHealth {
  readonly status: "ok" | "degraded"
  readonly gateway: string
  readonly pid: number
  readonly snapshot: number
  readonly refused?: string
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

export const readGatewayState = (directory: string): GatewayState | undefined => {
  try {
    return JSON.parse(readFileSync(gatewayFiles(directory).state, "utf8")) as GatewayState
  } catch {
    return undefined
  }
}

/** The state of a gateway whose process lives; its port may not answer yet. */
export const runningGateway = (directory: string): GatewayState | undefined => {
  const state = readGatewayState(directory)
  return state !== undefined && isRunning(state) ? state : undefined
}

/** Undefined when nothing answers, or something else does. */
export const gatewayHealth = async (state: GatewayState): Promise<GatewayHealth | undefined> => {
  try {
    const response = await fetch(`http://127.0.0.1:${state.port}/healthz`, { signal: AbortSignal.timeout(3000) })
    const health = (await response.json()) as GatewayHealth
    return health.pid === state.pid && health.gateway === state.gateway ? health : undefined
  } catch {
    return undefined
  }
}

const lastLines = (path: string, count: number): string => {
  try {
    return readFileSync(path, "utf8").trimEnd().split("\n").slice(-count).join("\n")
  } catch {
    return "(it left no log)"
  }
}

/** Trust on first use: whoever replaces the keyring's gateway key must also take the pinned one away, on purpose. */
const pinPublicKey = (directory: string, publicKey: string): void => {
  const { publicKey: path } = gatewayFiles(directory)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  let pinned: string
  try {
    pinned = readFileSync(path, "utf8").trim()
  } catch {
    writeFileSync(`${path}.tmp`, `${publicKey}\n`, { mode: 0o600 })
    renameSync(`${path}.tmp`, path)
    return
  }
  if (pinned !== publicKey) {
    throw new JobError({
      message: `The gateway trusts another key than the one in this home's keyring: ${path} was written for a keyring that is gone.`,
      remedy: `If you replaced the keyring on purpose: hyper stop, delete ${path}, and run again.`
    })
  }
}

const start = async (home: Home, program: GatewayProgram["Service"]): Promise<GatewayState> => {
  const files = gatewayFiles(home.gateway)
  mkdirSync(home.gateway, { recursive: true, mode: 0o700 })
  try {
    if (statSync(files.log).size > LOG_LIMIT) renameSync(files.log, `${files.log}.1`)
  } catch {
    // no log yet
  }
  const log = openSync(files.log, "a", 0o600)
  const child = spawn(process.execPath, [program.path, home.gateway], {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: home.gateway,
    env: program.port === undefined ? {} : { HYPER_GATEWAY_PORT: String(program.port) }
  })
  closeSync(log)
  let ended: number | null | undefined
  child.once("exit", (code) => (ended = code))
  const failed = new Promise<Error>((resolve) => child.once("error", resolve))
  child.unref()
  for (let waited = 0; waited < 30_000; waited += 25) {
    const broken = await Promise.race([failed, pause(25)])
    if (broken instanceof Error) throw new JobError({ message: `The gateway cannot be started: ${broken.message}`, remedy: "run hyper doctor" })
    // 3: another one was faster; it writes its state soon
    if (ended !== undefined && ended !== 3) {
      throw new JobError({ message: `The gateway ended at once:\n${lastLines(files.log, 3)}`, remedy: `its whole log: ${files.log}` })
    }
    const state = runningGateway(home.gateway)
    if (state !== undefined && (await gatewayHealth(state)) !== undefined) return state
  }
  signalChild(child.pid)
  throw new JobError({ message: `The gateway did not answer within 30 s. Its last words:\n${lastLines(files.log, 5)}`, remedy: `its whole log: ${files.log}` })
}

/** Only for the child that this very call has spawned and not yet seen end. */
const signalChild = (pid: number | undefined): void => {
  try {
    if (pid !== undefined) process.kill(pid, "SIGKILL")
  } catch {
    // gone already
  }
}

/** The gateway that runs, or a new one. Callers make sure that only one of them is here at a time. */
export const ensureGateway = (home: Home, program: GatewayProgram["Service"], publicKey: string): Effect.Effect<GatewayState, JobError> =>
  Effect.tryPromise({
    try: async () => {
      pinPublicKey(home.gateway, publicKey)
      const state = runningGateway(home.gateway)
      if (state === undefined) return start(home, program)
      for (let tries = 0; tries < 3; tries++) if ((await gatewayHealth(state)) !== undefined) return state
      if (runningGateway(home.gateway) === undefined) return start(home, program)
      throw new JobError({ message: `The gateway (process ${state.pid}, port ${state.port}) runs but does not answer.`, remedy: `see ${gatewayFiles(home.gateway).log}; hyper stop ends it, and the next run starts another` })
    },
    catch: (error) => (error instanceof JobError ? error : new JobError({ message: `The gateway cannot be reached: ${(error as Error).message}` }))
  })

/** Ends the gateway of a home: SIGTERM (answers under way get ten seconds), then SIGKILL. Idempotent. True when there was one. */
export const stopGateway = (home: Home): Effect.Effect<boolean, JobError> =>
  Effect.tryPromise({
    try: async () => {
      const state = runningGateway(home.gateway)
      if (state === undefined) return false
      await end(state)
      rmSync(gatewayFiles(home.gateway).lock, { force: true })
      return true
    },
    catch: (error) => new JobError({ message: `The gateway cannot be stopped: ${(error as Error).message}` })
  })

const end = async (identity: ProcessIdentity): Promise<void> => {
  signalProcess(identity, "SIGTERM")
  for (let waited = 0; waited < 12_000 && isRunning(identity); waited += 50) await pause(50)
  if (!isRunning(identity)) return
  signalProcess(identity, "SIGKILL")
  for (let waited = 0; waited < 5000 && isRunning(identity); waited += 50) await pause(50)
  if (isRunning(identity)) throw new Error(`process ${identity.pid} does not end`)
}
