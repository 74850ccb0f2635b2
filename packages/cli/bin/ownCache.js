/** The user's cache (`HYPER_CACHE`, as in `engine/src/Home.ts`) for what a start may load: only a directory that nobody else can write. */
import { mkdirSync, lstatSync } from "node:fs"
import { homedir } from "node:os"
import { join, resolve } from "node:path"

export const cacheDirectory = (env) => resolve(env.HYPER_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "hyper"))

/** True for a file or directory of this user that others cannot write. */
export const isOurs = (path) => {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat !== undefined && !stat.isSymbolicLink() && (process.getuid === undefined || stat.uid === process.getuid()) && (stat.mode & 0o022) === 0
}

/** `cache/name`, made where it is not there; undefined where it cannot be, or is somebody else's: then a start only takes longer. */
export const ownCache = (cache, name) => {
  const path = join(cache, name)
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    return isOurs(path) ? path : undefined
  } catch {
    return undefined
  }
}
