/**
 * A process that cannot be taken for another: pid, boot id and start time. A pid alone is given out again. Node only, no effect: the
 * supervisor imports this file.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

/** As stored in `supervisor.json` and `child.json`. */
export interface ProcessIdentity {
  readonly pid: number
  readonly bootId: string
  /** field 22 of /proc/<pid>/stat in clock ticks; on macOS what `ps -o lstart=` prints */
  readonly startTime: string
}

let boot: string | undefined

const bootId = (): string => {
  if (boot !== undefined) return boot
  try {
    boot = process.platform === "linux" ? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() : execFileSync("sysctl", ["-n", "kern.boottime"], { encoding: "utf8" }).trim()
  } catch {
    boot = "unknown"
  }
  return boot
}

/** Undefined where there is no such process, or only its exit status is left (a zombie does nothing any more). */
const startTimeOf = (pid: number): string | undefined => {
  if (process.platform !== "linux") {
    try {
      return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim() || undefined
    } catch {
      return undefined
    }
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // the program's name may hold spaces and brackets: fields are counted after the last one
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export const identityOf = (pid: number): ProcessIdentity | undefined => {
  const startTime = startTimeOf(pid)
  return startTime === undefined ? undefined : { pid, bootId: bootId(), startTime }
}

export const isRunning = (identity: ProcessIdentity): boolean => identity.bootId === bootId() && startTimeOf(identity.pid) === identity.startTime

/** One string, as in `JobHandle.supervisor`. */
export const formatIdentity = ({ bootId, pid, startTime }: ProcessIdentity): string => `${pid} ${bootId} ${startTime}`

export const parseIdentity = (text: string): ProcessIdentity | undefined => {
  const match = /^(\d+) (\S+) (.+)$/s.exec(text)
  return match === null ? undefined : { pid: Number(match[1]), bootId: match[2]!, startTime: match[3]! }
}

/** False where the process was gone. A signal to `group` reaches its whole process group. Throws where it may not be signalled. */
export const signalProcess = (identity: ProcessIdentity, signal: NodeJS.Signals, group = false): boolean => {
  if (!isRunning(identity)) return false
  try {
    process.kill(group ? -identity.pid : identity.pid, signal)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false
    throw error
  }
}
