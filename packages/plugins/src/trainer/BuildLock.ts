/** One builder at a time for one environment, across processes. The lock names its holder by pid and start time, so a killed holder's is taken over. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"

/** Field 22 of /proc/<pid>/stat: a pid that was given out again has another. "" where there is no /proc. */
const startTime = (pid: number): string => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  } catch {
    return ""
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** True: held now, by this process. False: a living process holds it. Throws where the directory cannot be written. */
export const takeLock = (path: string): boolean => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const mine = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`
  writeFileSync(mine, `${process.pid} ${startTime(process.pid)}`)
  try {
    for (let round = 0; round < 3; round++) {
      try {
        linkSync(mine, path) // fails where the name is there: the one atomic test-and-set a file system has
        return true
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      }
      let holder = ""
      try {
        holder = readFileSync(path, "utf8")
      } catch {
        continue // released in between
      }
      const [pid = "", started = ""] = holder.split(" ")
      if (isAlive(Number(pid)) && startTime(Number(pid)) === started) return false
      // renamed away rather than removed: only one of several callers takes over, and a fresh lock put there meanwhile is put back
      const stale = `${mine}.stale`
      try {
        renameSync(path, stale)
        if (readFileSync(stale, "utf8") !== holder) linkSync(stale, path)
      } catch {
        // another caller was faster
      } finally {
        rmSync(stale, { force: true })
      }
    }
    return false
  } finally {
    rmSync(mine, { force: true })
  }
}

export const releaseLock = (path: string): void => rmSync(path, { force: true })
