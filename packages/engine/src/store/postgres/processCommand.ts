/** The command line of a process, or "" when it is gone (a zombie has none). A pid alone proves nothing: pids are given out again. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"

export const processCommand = async (pid: number): Promise<string> => {
  if (process.platform === "linux") return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ").trim()
  return new Promise((resolve) => {
    execFile("ps", ["-ww", "-o", "command=", "-p", String(pid)], (error, stdout) => resolve(error === null ? stdout.trim() : ""))
  })
}
