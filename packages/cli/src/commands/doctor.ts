/** `hyper doctor`: what this machine has and lacks, each lack with its remedy. Looks; changes nothing. */
import { execFile } from "node:child_process"
import { accessSync, constants, existsSync, statfsSync } from "node:fs"
import { dirname } from "node:path"
import { promisify } from "node:util"
import { answers, currentHome, readDaemonFile, socketOf } from "../client/Daemon.ts"
import { ExitCode } from "../ExitCode.ts"
import { bytes } from "../render/words.ts"
import { version } from "../version.ts"

interface Check {
  readonly name: string
  readonly state: "ok" | "warn" | "missing"
  readonly detail: string
  readonly remedy?: string
}

const tryRun = async (command: string, args: ReadonlyArray<string>): Promise<string | undefined> => {
  try {
    const { stderr, stdout } = await promisify(execFile)(command, [...args], { timeout: 10_000 })
    return `${stdout}${stderr}`.trim().split("\n")[0] ?? ""
  } catch {
    return undefined
  }
}

const python = async (): Promise<Check> => {
  const configured = process.env["HYPER_PYTHON"]
  for (const command of configured === undefined ? ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"] : [configured]) {
    const found = await tryRun(command, ["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"])
    if (found !== undefined && Number(found.split(".")[1]) >= 10) return { name: "python", state: "ok", detail: `${command} ${found}` }
  }
  return {
    name: "python",
    state: "missing",
    detail: configured === undefined ? "no Python 3.10 or newer on the PATH" : `HYPER_PYTHON=${configured} is no Python 3.10 or newer`,
    remedy: configured === undefined ? "Debian and Ubuntu: apt-get install python3 python3-venv; or set HYPER_PYTHON" : "point HYPER_PYTHON at an interpreter, or unset it"
  }
}

const sandbox = async (): Promise<Check> => {
  const { likelySandbox, REMEDY } = await import("@hypernode/engine/sandbox/available")
  const found = await likelySandbox()
  if (found.kind === "container") return { name: "sandbox", state: "ok", detail: "a container on the Docker engine" }
  return found.kind === "none"
    ? { name: "sandbox", state: "warn", detail: `none (${found.reasons.join("; ")}): training with sandbox "required" is refused, "auto" runs unsandboxed`, remedy: REMEDY }
    : { name: "sandbox", state: "ok", detail: (await tryRun(found.tools.bwrap, ["--version"])) ?? "bubblewrap" }
}

const docker = async (): Promise<Check> => {
  const { engineHere } = await import("@hypernode/engine/containers/engineHere")
  try {
    const { gpus, storageDriver, version: engine } = await engineHere()
    return { name: "docker", state: "ok", detail: `engine ${engine}, ${storageDriver}${gpus ? ", with NVIDIA's runtime" : ""}` }
  } catch (cause) {
    const { message, remedy } = cause as Error & { readonly remedy?: string }
    return { name: "docker", state: "warn", detail: message, ...(remedy === undefined ? {} : { remedy }) }
  }
}

const gpu = async (): Promise<Check> => {
  const found = await tryRun("nvidia-smi", ["--query-gpu=name,memory.total", "--format=csv,noheader"])
  return { name: "gpu", state: "ok", detail: found ?? "none: training and serving run on the CPU" }
}

const home = (): Array<Check> => {
  const { cache, root } = currentHome()
  const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)))
  const checks: Array<Check> = []
  for (const [name, path] of [["home", root], ["cache", cache]] as const) {
    try {
      accessSync(nearest(path), constants.W_OK)
      const { bavail, bsize } = statfsSync(nearest(path))
      const free = bavail * bsize
      checks.push(free < 8e9 && name === "cache"
        ? { name, state: "warn", detail: `${path}: ${bytes(free)} free`, remedy: "the Python environment needs up to 6 GB at first use; free some space, or set HYPER_CACHE" }
        : { name, state: "ok", detail: `${path}: ${bytes(free)} free` })
    } catch {
      checks.push({ name, state: "missing", detail: `${path} cannot be written`, remedy: `set ${name === "home" ? "HYPER_HOME" : "HYPER_CACHE"} to a directory you may write` })
    }
  }
  return checks
}

const daemonCheck = async (): Promise<Check> => {
  const at = currentHome()
  const running = readDaemonFile(at)
  if (!(await answers(socketOf(at)))) return { name: "daemon", state: "ok", detail: "not running: the next command starts it" }
  return running !== undefined && running.version !== version
    ? { name: "daemon", state: "warn", detail: `hyper ${running.version} (process ${running.pid}), this is ${version}`, remedy: "it is replaced when idle; or: hyper stop" }
    : { name: "daemon", state: "ok", detail: `running${running === undefined ? "" : `, process ${running.pid}`}, embedded executor` }
}

export const doctor = async (options: { readonly json?: boolean }): Promise<ExitCode> => {
  const [git, ...rest] = await Promise.all([tryRun("git", ["--version"]), python(), sandbox(), docker(), gpu(), daemonCheck()])
  const checks: Array<Check> = [
    { name: "hyper", state: "ok", detail: `${version} on Node ${process.version}, ${process.platform} ${process.arch}${process.platform === "linux" ? "" : " (untested: Linux is what is tested)"}` },
    ...home(),
    git === undefined ? { name: "git", state: "warn", detail: "not found", remedy: "install git; hyper watch needs it" } : { name: "git", state: "ok", detail: git },
    ...rest,
    { name: "database", state: "ok", detail: process.env["DATABASE_URL"] ? "DATABASE_URL" : "a private PostgreSQL in the home" }
  ]
  if (options.json === true) process.stdout.write(`${JSON.stringify(checks)}\n`)
  else for (const c of checks) process.stdout.write(` ${c.state === "ok" ? "■" : c.state === "warn" ? "◆" : "✗"} ${c.name.padEnd(9)} ${c.detail}${c.remedy === undefined ? "" : `\n${" ".repeat(13)}${c.remedy}`}\n`)
  return checks.some((c) => c.state === "missing") ? ExitCode.refused : ExitCode.ok
}
