/** A process and all that descends from it: its processor time so far, and stopping and continuing it as a whole. Linux's /proc. */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

interface Stat {
  readonly pid: number
  readonly parent: number
  /** user and system time, with that of children that have been waited for */
  readonly ticks: number
}

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }))

const stat = (pid: number): Stat | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    // the name in parentheses may hold anything
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
    return { pid, parent: Number(fields[1]), ticks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) }
  } catch {
    return undefined // it has ended
  }
}

/** Seconds of processor time of one process so far, with that of children that it has waited for. */
export const secondsOf = (pid: number): number => (stat(pid)?.ticks ?? 0) / ticksPerSecond

export class Processes {
  readonly pids: ReadonlyArray<number>

  /** The tree as it is now. */
  constructor(...roots: ReadonlyArray<number>) {
    const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (stat(Number(name)) ?? []) : []))
    const found = new Set(roots)
    for (let before = 0; before < found.size; ) {
      before = found.size
      for (const { parent, pid } of all) if (found.has(parent)) found.add(pid)
    }
    this.pids = [...found]
  }

  /** Seconds of processor time so far. */
  seconds(): number {
    return this.pids.reduce((sum, pid) => sum + (stat(pid)?.ticks ?? 0), 0) / ticksPerSecond
  }

  signal(signal: "SIGSTOP" | "SIGCONT" | "SIGKILL"): void {
    for (const pid of this.pids) {
      try {
        process.kill(pid, signal)
      } catch {
        // it has ended
      }
    }
  }
}
