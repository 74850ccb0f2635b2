/**
 * Where the private server keeps its data and its socket.
 *
 * As an ordinary user: `<home>/pg` and `<sockets>/pg`. As root the server has another uid, which must be able to reach both:
 * - where every directory above the home lets it pass, the home's own root gets mode 0711 (its children stay 0700) and the data stays in the home;
 * - where one does not (a home below /root), data and socket lie in `/var/lib/hypernode/<hash of the home's path>/` and `<home>/pg` is a
 *   link to it, which is the record. A home that was deleted leaves its data there (swept
 *   later if it was a temporary one); a new home at the same path starts afresh.
 */
import { createHash } from "node:crypto"
import { chmod, chown, lstat, mkdir, readFile, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import type { Home } from "../../Home.ts"
import { DatabaseError } from "../DatabaseError.ts"
import { type Owner, reachable, serverOwner, systemDirectory } from "./Owner.ts"
import { stopServer } from "./Server.ts"

export interface Placement {
  readonly dataDirectory: string
  /** absolute path of a directory of mode 0700 that holds the socket and nothing else */
  readonly socketDirectory: string
  readonly owner: Owner | undefined
}

const externalName = (home: Home): string => createHash("sha256").update(home.root).digest("hex").slice(0, 16)

/** Where an existing server of this home is, without making anything; undefined when there is none. */
export const findDataDirectory = async (home: Home): Promise<string | undefined> => {
  const found = await lstat(home.database).catch(() => undefined)
  if (found === undefined) return undefined
  return found.isSymbolicLink() ? await readlink(home.database) : home.database
}

export const placeDatabase = async (home: Home): Promise<Placement> => {
  await mkdir(home.root, { recursive: true, mode: 0o700 })
  const existing = await findDataDirectory(home)
  const owner = await serverOwner(existing ?? home.database)
  if (owner === undefined) {
    const socketDirectory = join(home.sockets, "pg")
    await mkdir(home.sockets, { recursive: true, mode: 0o700 })
    await ownedOnly(home.sockets)
    await mkdir(socketDirectory, { recursive: true, mode: 0o700 })
    return { dataDirectory: home.database, socketDirectory, owner }
  }
  const inside = (await reachable(dirname(home.root), owner)) && (await reachable(dirname(home.sockets) === home.root ? dirname(home.root) : dirname(home.sockets), owner))
  if (existing !== undefined && existing !== home.database) return external(home, owner, existing)
  if (!inside) {
    if (existing !== undefined) {
      throw new DatabaseError({
        reason: "Unwritable",
        message: `${home.database} belongs to user ${owner.name}, who may no longer pass through a directory above it`,
        remedy: `give the directories above ${home.root} mode 0711, or move the home`
      })
    }
    return placeOutside(home, owner)
  }
  await chmod(home.root, 0o711)
  await mkdir(home.sockets, { recursive: true, mode: 0o711 })
  await ownedOnly(home.sockets)
  await chmod(home.sockets, 0o711)
  const socketDirectory = join(home.sockets, "pg")
  await own(socketDirectory, owner)
  return { dataDirectory: home.database, socketDirectory, owner }
}

const patienceMillis = 30_000

/** Two processes of one new home at once: one makes the place, the other waits for its link. Without this the second would clear the first's data away. */
const placeOutside = async (home: Home, owner: Owner): Promise<Placement> => {
  const lock = join(home.root, "pg.placing")
  for (const end = Date.now() + patienceMillis; ; ) {
    const link = await readlink(home.database).catch(() => undefined)
    if (link !== undefined) return external(home, owner, link)
    const mine = await mkdir(lock).then(() => true, () => false)
    if (mine || Date.now() > end) {
      try {
        return await external(home, owner, undefined)
      } finally {
        await rm(lock, { recursive: true, force: true })
      }
    }
    await new Promise((next) => setTimeout(next, 50))
  }
}

const external = async (home: Home, owner: Owner, existing: string | undefined): Promise<Placement> => {
  const base = existing === undefined ? join(await systemDirectory(), externalName(home)) : dirname(existing)
  const dataDirectory = join(base, "pg")
  if (existing === undefined) {
    await sweep(dirname(base))
    // nothing in this home points here, so what lies here belonged to a home that was deleted
    await stopServer(dataDirectory)
    await rm(base, { recursive: true, force: true })
    await mkdir(base, { mode: 0o711 })
    await writeFile(join(base, "home"), `${home.root}\n`, { mode: 0o600 })
    await symlink(dataDirectory, home.database)
  } else await mkdir(base, { recursive: true, mode: 0o711 })
  const socketDirectory = join(base, "run")
  await own(socketDirectory, owner)
  return { dataDirectory, socketDirectory, owner }
}

/** Homes of tests and trials come and go: the data of one below a temporary directory goes when the home is gone. Of others, never by itself. */
const sweep = async (place: string): Promise<void> => {
  for (const name of await readdir(place)) {
    const home = (await readFile(join(place, name, "home"), "utf8").catch(() => "")).trim()
    const temporary = [tmpdir(), "/tmp", "/var/tmp"].some((directory) => home.startsWith(`${directory}/`))
    if (!temporary || (await lstat(home).then(() => true, (error: NodeJS.ErrnoException) => error.code !== "ENOENT"))) continue
    await stopServer(join(place, name, "pg"))
    await rm(join(place, name), { recursive: true, force: true })
  }
}

const own = async (directory: string, owner: Owner): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await chown(directory, owner.uid, owner.gid)
}

/** The socket directory may lie in a shared temporary directory: it must be ours, and no link. */
const ownedOnly = async (directory: string): Promise<void> => {
  const found = await lstat(directory)
  if (found.isDirectory() && found.uid === process.getuid?.()) return
  throw new DatabaseError({ reason: "Unwritable", message: `${directory} is not a directory of this user`, remedy: "remove it, or set HYPER_HOME to a shorter path" })
}
