/**
 * The private server's process: made, started, adopted, stopped. It is a session of its own, so that a Ctrl-C or a kill -9 of the
 * daemon does not reach it; whoever comes next finds it through `postmaster.pid`.
 */
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chown, mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { userInfo } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { DatabaseError, databaseErrorFrom } from "../DatabaseError.ts"
import type { Binaries } from "./Binaries.ts"
import type { Placement } from "./Placement.ts"
import { processCommand } from "./processCommand.ts"

export const socketPath = (placement: Placement): string => join(placement.socketDirectory, ".s.PGSQL.5432")

/** The only database role; the operating system says who may be it (peer authentication in a directory of mode 0700). */
export const databaseUser = "hyper"

const settings: Readonly<Record<string, string>> = {
  listen_addresses: "",
  unix_socket_permissions: "0700",
  fsync: "on",
  full_page_writes: "on",
  synchronous_commit: "on",
  max_connections: "64",
  shared_buffers: "32MB",
  dynamic_shared_memory_type: "mmap",
  // no replicas: less log to write per commit
  wal_level: "minimal",
  max_wal_senders: "0",
  max_wal_size: "256MB",
  min_wal_size: "32MB",
  max_parallel_workers: "0",
  jit: "off",
  // errors must not carry data rows into the log file
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_parameter_max_length_on_error: "0",
  log_checkpoints: "off"
}

interface PostmasterFile {
  readonly pid: number
  readonly socketDirectory: string
  readonly ready: boolean
}

const postmasterFile = async (dataDirectory: string): Promise<PostmasterFile | undefined> => {
  const text = await readFile(join(dataDirectory, "postmaster.pid"), "utf8").catch(() => "")
  const lines = text.split("\n")
  const pid = Number(lines[0])
  return Number.isInteger(pid) && pid > 0 ? { pid, socketDirectory: lines[4] ?? "", ready: (lines[7] ?? "").trim() === "ready" } : undefined
}

/** The server that owns this directory now: its pid may have been given to another process since, so the command line decides. */
export const runningServer = async (dataDirectory: string): Promise<PostmasterFile | undefined> => {
  const file = await postmasterFile(dataDirectory)
  return file !== undefined && (await processCommand(file.pid)).includes(dataDirectory) ? file : undefined
}

const run = (placement: Placement, binaries: Binaries, program: string, args: ReadonlyArray<string>, stdio: "pipe" | number) =>
  spawn(join(binaries.bin, program), args, {
    cwd: "/",
    detached: true,
    // nothing inherited: a PGDATA or PGOPTIONS of the user's shell must not reach the private server
    env: { LC_ALL: "C", TZ: "UTC", PATH: "/usr/bin:/bin", ...(binaries.libraryPath === "" ? {} : { LD_LIBRARY_PATH: binaries.libraryPath, DYLD_LIBRARY_PATH: binaries.libraryPath }) },
    stdio: ["ignore", stdio, stdio],
    ...(placement.owner === undefined ? {} : { uid: placement.owner.uid, gid: placement.owner.gid })
  })

/** Makes the data directory aside and renames it, so that it is whole or absent, whoever else is doing the same. */
export const createData = async (placement: Placement, binaries: Binaries): Promise<void> => {
  const { dataDirectory, owner } = placement
  const present = await readFile(join(dataDirectory, "PG_VERSION"), "utf8").catch(() => undefined)
  if (present !== undefined) return checkVersion(dataDirectory, Number.parseInt(present, 10), binaries.major)
  const parent = dirname(dataDirectory)
  const fresh = `${dataDirectory}.new-${process.pid}-${randomBytes(4).toString("hex")}`
  try {
    for (const name of await readdir(parent)) {
      const left = /^pg\.new-(\d+)-/.exec(name)
      if (left !== null && (await processCommand(Number(left[1]))) === "") await rm(join(parent, name), { recursive: true, force: true })
    }
    await rm(fresh, { recursive: true, force: true })
    await mkdir(fresh, { mode: 0o700 })
    if (owner !== undefined) await chown(fresh, owner.uid, owner.gid)
    const child = run(placement, binaries, "initdb", ["-D", fresh, "-U", databaseUser, "--encoding=UTF8", "--locale=C", "--auth-local=peer", "--auth-host=reject", "--no-instructions"], "pipe")
    let output = ""
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()))
    const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve))
    if (code !== 0) throw new Error(output)
    await rename(fresh, dataDirectory).catch(async (cause: unknown) => {
      if ((await readFile(join(dataDirectory, "PG_VERSION"), "utf8").catch(() => undefined)) === undefined) throw cause
    })
  } catch (cause) {
    throw databaseErrorFrom(`making the database in ${dataDirectory}`, cause)
  } finally {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined)
  }
}

const checkVersion = (dataDirectory: string, found: number, major: number): void => {
  if (found === major || major === 0) return
  throw new DatabaseError(
    found > major
      ? { reason: "NewerData", message: `the database in ${dataDirectory} was written by PostgreSQL ${found}, newer than the ${major} that this hyper runs`, remedy: "upgrade hyper" }
      : { reason: "Failed", message: `the database in ${dataDirectory} was written by PostgreSQL ${found}; this hyper runs ${major}`, remedy: `dump it with PostgreSQL ${found}'s pg_dump, move the directory away, and restore into the new one` }
  )
}

/** Returns when the server answers: one that was running already (adopted), or a new one. */
export const startServer = async (placement: Placement, binaries: Binaries, logFile: string): Promise<{ readonly adopted: boolean }> => {
  const { dataDirectory, owner } = placement
  for (let tries = 0; ; tries++) {
    const running = await runningServer(dataDirectory)
    if (running !== undefined) {
      // it may be starting up, or going down because its last user left
      if (running.ready && running.socketDirectory === placement.socketDirectory) return { adopted: true }
      if (running.ready) await stopServer(dataDirectory)
      if (tries > 3000) throw new DatabaseError({ reason: "Failed", message: `the PostgreSQL with pid ${running.pid} on ${dataDirectory} does not become ready`, remedy: `look at ${logFile}` })
      await delay(10)
      continue
    }
    const user = userInfo().username
    await writeOwned(join(dataDirectory, "pg_hba.conf"), "local all all peer map=hyper\n", owner)
    await writeOwned(join(dataDirectory, "pg_ident.conf"), `hyper "${user}" ${databaseUser}\n`, owner)
    const failure = await launch(placement, binaries, logFile)
    if (failure === undefined) return { adopted: false }
    // another process won the race for the directory: adopt its server
    if (/lock file ".*postmaster\.pid" already exists|could not lock|pre-existing shared memory block/.test(failure) && tries < 3000) {
      await delay(20)
      continue
    }
    throw databaseErrorFrom(`starting the database in ${dataDirectory}`, new Error(failure))
  }
}

const writeOwned = async (path: string, text: string, owner: Placement["owner"]): Promise<void> => {
  try {
    if ((await readFile(path, "utf8").catch(() => "")) === text) return
    await writeFile(`${path}.new`, text, { mode: 0o600 })
    if (owner !== undefined) await chown(`${path}.new`, owner.uid, owner.gid)
    await rename(`${path}.new`, path)
  } catch (cause) {
    throw databaseErrorFrom(path, cause)
  }
}

const launch = async (placement: Placement, binaries: Binaries, logFile: string): Promise<string | undefined> => {
  const log = await open(logFile, ((await stat(logFile).catch(() => undefined))?.size ?? 0) > 4_000_000 ? "w" : "a", 0o600).catch((cause: unknown) => {
    throw databaseErrorFrom(logFile, cause)
  })
  try {
    const from = (await log.stat()).size
    const args = ["-D", placement.dataDirectory, "-k", placement.socketDirectory, "-p", "5432", ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])]
    const child = run(placement, binaries, "postgres", args, log.fd)
    let ended: string | undefined
    child.once("error", (cause) => (ended = cause.message)).once("exit", (code, signal) => (ended = `ended with ${signal ?? code}`))
    child.unref()
    for (let waited = 0; ended === undefined; waited += 5) {
      const file = await postmasterFile(placement.dataDirectory)
      if (file?.ready === true && file.pid === child.pid) return undefined
      if (waited > 300_000) {
        child.kill("SIGQUIT")
        ended = "did not become ready within five minutes"
      }
      await delay(5)
    }
    const words = (await readFile(logFile)).subarray(from).toString()
    return words.trim() === "" ? ended : words
  } finally {
    await log.close()
  }
}

/** Fast shutdown; returns when the process is gone (or at once when there is none). */
export const stopServer = async (dataDirectory: string): Promise<boolean> => {
  const running = await runningServer(dataDirectory)
  if (running === undefined) return false
  for (const [signal, patience] of [["SIGINT", 20_000], ["SIGQUIT", 5_000], ["SIGKILL", 5_000]] as const) {
    try {
      process.kill(running.pid, signal)
    } catch {
      return true
    }
    for (let waited = 0; waited < patience; waited += 5) {
      if ((await runningServer(dataDirectory))?.pid !== running.pid && (await processCommand(running.pid)) === "") return true
      await delay(5)
    }
  }
  throw new DatabaseError({ reason: "Failed", message: `the PostgreSQL with pid ${running.pid} on ${dataDirectory} does not end` })
}
