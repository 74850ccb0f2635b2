/** Ends what is left of a job: its process group, and descendants that left the group (found by the variable they inherited). */
import { readdirSync, readFileSync } from "node:fs"
import { JOB_VARIABLE } from "./JobDirectory.ts"

/** Pids of living processes that carry the variable of the job in this directory. Linux; empty elsewhere, where only the process group is ended. */
export const survivorsOf = (directory: string): ReadonlyArray<number> => {
  if (process.platform !== "linux") return []
  const wanted = `${JOB_VARIABLE}=${directory}`
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
    try {
      return readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(wanted) ? [Number(name)] : []
    } catch {
      return [] // gone, or another user's
    }
  })
}

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // gone already
  }
}

/** Resolves when none is left (a process may fork while it is being looked for, hence the rounds), or after about two seconds, with those that would not go. */
export const endSurvivors = async (directory: string, group?: number): Promise<ReadonlyArray<number>> => {
  if (group !== undefined) kill(-group)
  let left = survivorsOf(directory)
  for (let round = 0; left.length > 0 && round < 40; round++) {
    for (const pid of left) kill(pid)
    await pause(Math.min(5 * 2 ** round, 50))
    left = survivorsOf(directory)
  }
  return left
}
