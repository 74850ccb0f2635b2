/**
 * A Docker engine of a test's own: Debian's dockerd on a private socket, with its own data, no bridge and no firewall rules, so that
 * nothing of the machine's engine (if it has one) is touched. Ended by process id; what it leaves mounted is unmounted.
 */
import { execFileSync, spawn } from "node:child_process"
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { engineHere } from "../containers/engineHere.ts"

/** Why there is no engine to test with. With CI=true and as root, that is a failure. */
export const noDockerd = (): string | undefined => {
  if (process.getuid?.() !== 0) return "dockerd is started by root only"
  if (["/usr/sbin/dockerd", "/usr/bin/dockerd"].some(existsSync)) return undefined
  const lacks = "dockerd is not installed (apt-get install docker.io)"
  if (process.env["CI"] === "true") throw new Error(lacks)
  return lacks
}

export interface TestEngine {
  readonly pid: number
  readonly address: { readonly kind: "socket"; readonly path: string }
  /** for DOCKER_HOST */
  readonly url: string
  /** SIGKILL to the engine alone: its containers live on until it is started again */
  readonly kill: () => Promise<void>
  readonly stop: () => Promise<void>
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

/** Everything that this engine started carries its directory in its command line: containerd, shims; and containers are their children. */
const endDescendants = (directory: string): void => {
  const pids = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" }).trim().split("\n").map((line) => {
    const [, pid, parent, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return { pid: Number(pid), parent: Number(parent), args: args ?? "" }
  })
  const ours = new Set(pids.filter(({ args }) => args.includes(directory) && /containerd|dockerd/.test(args)).map(({ pid }) => pid))
  for (let before = -1; before !== ours.size;) {
    before = ours.size
    for (const { parent, pid } of pids) if (ours.has(parent)) ours.add(pid)
  }
  for (const pid of ours) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // gone in between
    }
  }
}

const unmountBelow = (directory: string): void => {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n").map((line) => line.split(" ")[1] ?? "").filter((path) => path.startsWith(`${directory}/`))
  for (const path of mounts.toReversed()) execFileSync("umount", ["-l", path], { stdio: "ignore" })
}

/** `dataBytes`: its whole disk, on a file system of that size in memory. */
export const startEngine = async (options: { readonly dataBytes?: number } = {}): Promise<TestEngine> => {
  const directory = mkdtempSync(join(process.getuid?.() === 0 ? "/tmp" : tmpdir(), "hd-"))
  const data = join(directory, "data")
  mkdirSync(data)
  if (options.dataBytes !== undefined) execFileSync("mount", ["-t", "tmpfs", "-o", `size=${options.dataBytes}`, "tmpfs", data])
  const socket = join(directory, "s")
  const log = openSync(join(directory, "log"), "a")
  const child = spawn("dockerd", ["--host", `unix://${socket}`, "--data-root", data, "--exec-root", join(directory, "x"), "--pidfile", join(directory, "pid"), "--bridge=none", "--iptables=false", "--ip-masq=false"], {
    stdio: ["ignore", log, log],
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
  })
  closeSync(log)
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve())
    child.once("error", () => resolve())
  })
  const pid = child.pid ?? -1
  const address = { kind: "socket", path: socket } as const
  const clear = (): void => {
    endDescendants(directory)
    unmountBelow(directory)
    rmSync(directory, { recursive: true, force: true })
  }
  const stop = async (): Promise<void> => {
    process.off("exit", atExit)
    if (isAlive(pid)) {
      child.kill("SIGTERM")
      await Promise.race([gone, pause(10_000)])
      if (isAlive(pid)) child.kill("SIGKILL")
      await gone
    }
    clear()
  }
  // a test process that is ended early ends its engine too
  const atExit = (): void => {
    child.kill("SIGKILL")
    try {
      clear()
    } catch {
      // what is left lies below /tmp
    }
  }
  process.once("exit", atExit)
  const deadline = Date.now() + 30_000
  while (!(await engineHere(address).then(() => true, () => false))) {
    if (!isAlive(pid) || Date.now() > deadline) {
      const said = readFileSync(join(directory, "log"), "utf8").trim().split("\n").slice(-5).join("\n")
      await stop()
      throw new Error(`dockerd did not start:\n${said}`)
    }
    await pause(50)
  }
  return {
    pid,
    address,
    url: `unix://${socket}`,
    kill: async () => {
      child.kill("SIGKILL")
      await gone
    },
    stop
  }
}
