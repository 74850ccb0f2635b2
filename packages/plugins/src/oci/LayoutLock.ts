/**
 * One writer at a time of an OCI layout's index: a lock file made with O_EXCL that holds its owner's pid. The owner's death frees it: the
 * next one finds no such process and takes it over. Within one process callers queue up behind each other first.
 */
import { randomBytes } from "node:crypto"
import { link, open, readFile, rename, rm } from "node:fs/promises"

const queues = new Map<string, Promise<unknown>>()

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Undefined where the lock is free by now or not yet written; the pid in it otherwise. */
const ownerOf = async (path: string): Promise<number | undefined> => {
  const text = await readFile(path, "utf8").catch(() => "")
  return /^\d+\n$/.test(text) ? Number(text) : undefined
}

/** Moves a dead owner's lock away. A rename moves whatever is there by then, so look at what was moved, and put a live one back. */
const breakStale = async (path: string): Promise<void> => {
  const aside = `${path}.${randomBytes(6).toString("hex")}`
  try {
    await rename(path, aside)
  } catch {
    return // somebody else was faster
  }
  const pid = await ownerOf(aside)
  if (pid !== undefined && alive(pid)) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

const acquire = async (path: string, patience: number): Promise<void> => {
  // The content is written before the name exists: nobody ever reads a half-written lock.
  const mine = `${path}.${randomBytes(6).toString("hex")}`
  const file = await open(mine, "wx", 0o600)
  try {
    await file.writeFile(`${process.pid}\n`)
  } finally {
    await file.close()
  }
  try {
    for (const until = Date.now() + patience;;) {
      try {
        await link(mine, path)
        return
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      }
      const pid = await ownerOf(path)
      if (pid !== undefined && !alive(pid)) await breakStale(path)
      else if (Date.now() > until) throw new Error(`${path} is held by process ${pid ?? "unknown"}; if that is no hyper process, delete the file`)
      else await new Promise((resolve) => setTimeout(resolve, 20))
    }
  } finally {
    await rm(mine, { force: true })
  }
}

/** Runs `body` while the lock file at `path` is ours. Waits up to `patience` milliseconds for another process. */
export const withLock = async <A>(path: string, body: () => Promise<A>, patience = 30_000): Promise<A> => {
  const before = queues.get(path) ?? Promise.resolve()
  const turn = before.then(async () => {
    await acquire(path, patience)
    try {
      return await body()
    } finally {
      await rm(path, { force: true })
    }
  })
  const settled = turn.then(() => undefined, () => undefined)
  queues.set(path, settled)
  try {
    return await turn
  } finally {
    if (queues.get(path) === settled) queues.delete(path)
  }
}
