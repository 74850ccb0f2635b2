/** Who a pid is: pids are reused, so a process is named by pid, boot and start time. No effect: the gateway imports it. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

export interface ProcessIdentity {
  readonly pid: number
  readonly bootId: string
  /** Linux: field 22 of /proc/<pid>/stat (ticks since boot); elsewhere `ps -o lstart=` */
  readonly startTime: string
}

const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return "unknown"
  }
}

const startTime = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // the command's name may hold spaces and parentheses: fields are counted after the last one
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return fields[0] === "Z" ? undefined : fields[19]
  } catch {
    if (process.platform === "linux") return undefined
  }
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim() || undefined
  } catch {
    return undefined
  }
}

/** Undefined when there is no such process (or only its zombie). */
export const identityOf = (pid: number): ProcessIdentity | undefined => {
  const started = startTime(pid)
  return started === undefined ? undefined : { pid, bootId: bootId(), startTime: started }
}

/** True when the very process that was written down still lives. */
export const isAlive = (identity: ProcessIdentity): boolean => {
  const now = identityOf(identity.pid)
  return now !== undefined && now.startTime === identity.startTime && now.bootId === identity.bootId
}
