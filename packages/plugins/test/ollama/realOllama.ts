/**
 * A real Ollama on loopback, with a models directory of its own. Built once for this user and version from its Go module (server/go.mod;
 * needs Go 1.24 and a C++ compiler, about two minutes on two cores), or the program that OLLAMA_BIN names.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("./server", import.meta.url))
const BUILD_MILLIS = 900_000

const goIsThere = (): boolean => {
  const { status, stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", cwd: source })
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout ?? "") ?? []
  return status === 0 && (Number(major) > 1 || Number(minor) >= 24)
}

/** Why there can be no real Ollama here; with CI=true that is a failure. */
export const noOllama = (): string | undefined => {
  if (process.env["OLLAMA_BIN"] !== undefined) return undefined
  const reason = !goIsThere() ? "no Go 1.24 to build Ollama with" : spawnSync("g++", ["--version"]).status !== 0 ? "no C++ compiler to build Ollama with" : undefined
  if (reason !== undefined && process.env["CI"] === "true") throw new Error(`${reason}: install it, or set OLLAMA_BIN`)
  return reason
}

const cacheRoot = (): string => process.env["HYPER_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "hyper")

/** The name says what it was built from; a build that is cut off leaves nothing under it. */
const build = (): string => {
  const named = process.env["OLLAMA_BIN"]
  if (named !== undefined) return named
  const hash = createHash("sha256")
  for (const file of ["go.mod", "go.sum", "main.go"]) hash.update(readFileSync(join(source, file)))
  const directory = join(cacheRoot(), "ollama")
  const program = join(directory, `ollama-${process.platform}-${process.arch}-${hash.digest("hex").slice(0, 16)}`)
  if (existsSync(program)) return program
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const made = `${program}.${process.pid}`
  process.stdout.write("building a real Ollama from its Go module: minutes, once for this user\n")
  // less optimised: half the time to compile, and the models are tiny
  const done = spawnSync("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", made, "."], { cwd: source, encoding: "utf8", timeout: BUILD_MILLIS, env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "1", CGO_CFLAGS: "-O1 -g0", CGO_CXXFLAGS: "-O1 -g0" } })
  if (done.status !== 0) throw new Error(`Ollama does not build: ${done.error?.message ?? done.stderr.slice(-2000)}`)
  renameSync(made, program)
  return program
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

export interface RealOllama {
  /** its OLLAMA_MODELS */
  readonly models: string
  readonly host: string
  /** what it has written */
  readonly log: () => string
  readonly stop: () => Promise<void>
  /** again, on the same port and with the same models */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

export const realOllama = async (environment: Readonly<Record<string, string>> = {}): Promise<RealOllama> => {
  const program = build()
  const directory = mkdtempSync(join(tmpdir(), "hto-"))
  const port = await freePort()
  const host = `http://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  let log = ""
  const stop = async (): Promise<void> => {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
    const ended = new Promise((resolve) => running.once("exit", resolve))
    // its runners are its children and end with it
    running.kill("SIGTERM")
    const timer = setTimeout(() => running.kill("SIGKILL"), 10_000)
    await ended
    clearTimeout(timer)
  }
  const start = async (): Promise<void> => {
    const started = spawn(program, ["serve"], {
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: directory, OLLAMA_HOST: `127.0.0.1:${port}`, OLLAMA_MODELS: join(directory, "models"), OLLAMA_NOHISTORY: "1", ...environment },
      stdio: ["ignore", "pipe", "pipe"]
    })
    child = started
    for (const stream of [started.stdout, started.stderr]) stream.setEncoding("utf8").on("data", (part: string) => (log += part))
    for (let i = 0; i < 300; i++) {
      if (started.exitCode !== null) throw new Error(`Ollama ended: ${log.slice(-2000)}`)
      if (await fetch(`${host}/api/version`).then((response) => response.ok, () => false)) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`Ollama does not answer: ${log.slice(-2000)}`)
  }
  const close = async (): Promise<void> => {
    await stop()
    rmSync(directory, { recursive: true, force: true })
  }
  await start().catch(async (error: unknown) => {
    await close()
    throw error
  })
  return { models: join(directory, "models"), host, log: () => log, stop, start, close }
}
