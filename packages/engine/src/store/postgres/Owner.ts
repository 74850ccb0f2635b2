/**
 * Who the server runs as. PostgreSQL refuses root, so a root daemon starts it as an existing system user: the one that owns the data
 * already, else `postgres`, else `daemon`. Never 65534: sandboxes run under that one, and must not be able to read the database.
 */
import { constants } from "node:fs"
import { access, lstat, mkdir, readFile, realpath, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { DatabaseError } from "../DatabaseError.ts"

export interface Owner {
  readonly uid: number
  readonly gid: number
  readonly name: string
}

const sandboxUid = 65534
const preferred = ["postgres", "daemon", "bin", "sys"]

const systemUsers = async (): Promise<ReadonlyArray<Owner>> =>
  (await readFile("/etc/passwd", "utf8").catch(() => "")).split("\n").flatMap((line) => {
    const [name, , uid, gid] = line.split(":")
    return name === undefined || uid === undefined || gid === undefined ? [] : [{ name, uid: Number(uid), gid: Number(gid) }]
  })

/** Undefined when this process is not root: then the server simply runs as this user. */
export const serverOwner = async (dataDirectory: string): Promise<Owner | undefined> => {
  if (process.getuid?.() !== 0) return undefined
  const users = (await systemUsers()).filter((user) => user.uid !== 0 && user.uid !== sandboxUid)
  const present = await stat(dataDirectory).catch(() => undefined)
  const owner = users.find((user) => user.uid === present?.uid) ?? preferred.flatMap((name) => users.filter((user) => user.name === name)).at(0) ?? users.find((user) => user.uid < 1000)
  if (owner !== undefined) return owner
  throw new DatabaseError({
    reason: "Failed",
    message: "PostgreSQL refuses to run as root, and /etc/passwd names no system user to run it as",
    remedy: "run hyper as an ordinary user, add a system user named postgres, or set DATABASE_URL"
  })
}

/** Whether `owner` may pass through every directory above `path`, and into `path` itself where it exists. */
export const reachable = async (path: string, owner: Owner): Promise<boolean> => {
  let at = await realpath(path).catch(() => path)
  for (;;) {
    const found = await stat(at).catch(() => undefined)
    if (found !== undefined) {
      const bit = found.uid === owner.uid ? 0o100 : found.gid === owner.gid ? 0o010 : 0o001
      if ((found.mode & bit) === 0) return false
    }
    const up = dirname(at)
    if (up === at) return true
    at = up
  }
}

/** A root-owned directory that every uid can pass through, for what cannot lie in a home below a closed directory such as /root. */
export const systemDirectory = async (): Promise<string> => {
  for (const directory of ["/var/lib/hypernode", "/var/tmp/hypernode"]) {
    await mkdir(directory, { recursive: true, mode: 0o711 }).catch(() => undefined)
    const found = await lstat(directory).catch(() => undefined)
    // /var/tmp is open to all: a directory that somebody else put there is not ours
    if (found?.isDirectory() === true && found.uid === 0 && (found.mode & 0o022) === 0 && (await access(directory, constants.W_OK).then(() => true, () => false))) return directory
  }
  throw new DatabaseError({
    reason: "Unwritable",
    message: "neither /var/lib/hypernode nor /var/tmp/hypernode can be made as a directory that root alone writes to; the database's own user needs one because HYPER_HOME lies below a directory that is closed to it",
    remedy: "put HYPER_HOME below directories with mode 0711 or wider, run hyper as an ordinary user, or set DATABASE_URL"
  })
}
