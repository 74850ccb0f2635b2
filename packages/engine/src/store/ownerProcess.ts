/** A process that cannot be taken for a later one with the same pid: boot id and start time; "" when it is gone. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"

export const ownerProcess = async (pid: number): Promise<string> => {
  if (process.platform !== "linux") {
    return new Promise((resolve) => {
      execFile("ps", ["-o", "lstart=", "-p", String(pid)], (error, stdout) => resolve(error === null ? stdout.trim() : ""))
    })
  }
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")
  // the program's name may hold spaces and brackets: fields are counted after the last one
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  if (fields[19] === undefined || fields[0] === "Z" || fields[0] === "X") return ""
  return `${(await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim()} ${fields[19]}`
}
