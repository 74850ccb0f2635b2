import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { SqlClient } from "effect/sql/SqlClient"
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterEach, describe, expect, it } from "vitest"
import { type Home, homeAt } from "../../src/Home.ts"
import { type DatabaseError } from "../../src/store/DatabaseError.ts"
import { stopDatabase } from "../../src/store/Database.ts"
import { migrate } from "../../src/store/migrate.ts"
import { databaseAt, freshHome, removeHome } from "./databases.ts"

const root = process.getuid?.() === 0
const homes: Array<Home> = []
const more: Array<() => void | Promise<void>> = []
const home = (parent?: string): Home => {
  const made = freshHome(parent)
  homes.push(made)
  return made
}
afterEach(async () => {
  for (const made of homes.splice(0)) await removeHome(made)
  for (const undo of more.splice(0).reverse()) await undo()
})

const open = async (at: Home, url?: string) => {
  const runtime = ManagedRuntime.make(databaseAt(at, url))
  const sql = <A>(use: (sql: SqlClient) => Effect.Effect<A, unknown>): Promise<A> => runtime.runPromise(SqlClient.use(use) as Effect.Effect<A, unknown, SqlClient>)
  await sql((s) => s`SELECT 1`)
  return { sql, close: () => runtime.dispose() }
}
const failure = async (at: Home, url?: string): Promise<DatabaseError> => {
  const exit = await Effect.runPromiseExit(Effect.provide(Effect.void, databaseAt(at, url)))
  if (Exit.isSuccess(exit)) throw new Error("it opened")
  return Cause.squash(exit.cause) as DatabaseError
}
const postmaster = (at: Home): number => Number(readFileSync(join(at.database, "postmaster.pid"), "utf8").split("\n")[0])
const alive = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== ""
  } catch {
    return false
  }
}

describe("the private server", () => {
  it("starts, keeps what it was given, syncs, listens on no network, and is gone when the layer closes", async () => {
    const at = home()
    const one = await open(at)
    await one.sql((s) => s`CREATE TABLE t (x int)`)
    await one.sql((s) => s`INSERT INTO t VALUES (7)`)
    const [settings] = await one.sql((s) => s<{ fsync: string; listen: string; sync: string }>`SELECT current_setting('fsync') AS fsync, current_setting('listen_addresses') AS listen, current_setting('synchronous_commit') AS sync`)
    expect(settings).toEqual({ fsync: "on", listen: "", sync: "on" })
    const pid = postmaster(at)
    await one.close()
    expect(alive(pid)).toBe(false)
    const two = await open(at)
    expect(await two.sql((s) => s`SELECT x FROM t`)).toEqual([{ x: 7 }])
    await two.close()
  })

  it("serves two processes; the first to leave does not end it for the other", async () => {
    const at = home()
    const [one, two] = await Promise.all([open(at), open(at)])
    const pid = postmaster(at)
    await one.close()
    expect(await two.sql((s) => s`SELECT 1 AS x`)).toEqual([{ x: 1 }])
    expect(postmaster(at)).toBe(pid)
    await two.close()
    expect(alive(pid)).toBe(false)
  })

  it("is adopted after a kill -9 of the process that started it, with what that had committed", async () => {
    const at = home()
    const child = spawn(process.execPath, [fileURLToPath(new URL("hold-child.ts", import.meta.url)), at.root, at.cache], { stdio: ["ignore", "pipe", "inherit"] })
    more.push(() => void child.kill("SIGKILL"))
    await new Promise((resolve) => child.stdout.once("data", resolve))
    const pid = postmaster(at)
    child.kill("SIGKILL")
    await new Promise((resolve) => child.once("close", resolve))
    expect(alive(pid)).toBe(true)
    const one = await open(at)
    expect(postmaster(at)).toBe(pid)
    expect(await one.sql((s) => s`SELECT x FROM held`)).toEqual([{ x: 1 }])
    await one.close()
    expect(alive(pid)).toBe(false)
  })

  it("comes back by itself when it is killed, with all that was committed", async () => {
    const at = home()
    const one = await open(at)
    await one.sql((s) => s`CREATE TABLE t (x int)`)
    await one.sql((s) => s`INSERT INTO t VALUES (1)`)
    process.kill(postmaster(at), "SIGKILL")
    let rows: unknown
    for (let i = 0; i < 400 && rows === undefined; i++) {
      await delay(50)
      rows = await one.sql((s) => s`SELECT x FROM t`).catch(() => undefined)
    }
    expect(rows).toEqual([{ x: 1 }])
    await one.close()
  })

  it("stopDatabase ends it, and says whether there was one", async () => {
    const at = home()
    expect(await Effect.runPromise(stopDatabase(at))).toBe(false)
    const one = await open(at)
    const pid = postmaster(at)
    expect(await Effect.runPromise(stopDatabase(at))).toBe(true)
    expect(alive(pid)).toBe(false)
    await one.close()
  })

  it("a server on the pid file's pid that is another program is not signalled", async () => {
    const at = home()
    await (await open(at)).close()
    const other = spawn("sleep", ["60"], { stdio: "ignore" })
    more.push(() => void other.kill("SIGKILL"))
    writeFileSync(join(at.database, "postmaster.pid"), `${other.pid}\n${at.database}\n0\n5432\n/x\n\n\nready\n`)
    expect(await Effect.runPromise(stopDatabase(at))).toBe(false)
    expect(alive(other.pid!)).toBe(true)
    await (await open(at)).close()
  })

  it.runIf(root)("as root: runs as another user that is not the sandboxes', and only that user and root reach data and socket", async () => {
    const at = home()
    const one = await open(at)
    const status = readFileSync(`/proc/${postmaster(at)}/status`, "utf8")
    const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
    expect(uid).not.toBe(0)
    expect(uid).not.toBe(65534)
    expect(statSync(at.database).mode & 0o777).toBe(0o700)
    expect(statSync(join(at.sockets, "pg")).mode & 0o777).toBe(0o700)
    expect(statSync(at.root).mode & 0o777).toBe(0o711)
    // nobody: no data, no socket
    expect(() => execFileSync("ls", [at.database], { uid: 65534, gid: 65534, stdio: "pipe" })).toThrow()
    expect(() => execFileSync("ls", [join(at.sockets, "pg")], { uid: 65534, gid: 65534, stdio: "pipe" })).toThrow()
    await one.close()
  })

  it.runIf(root)("as root: a home below a closed directory keeps its data in a system directory, found again by its link", async () => {
    const closed = mkdtempSync(join(tmpdir(), "hc-"))
    chmodSync(closed, 0o700)
    more.push(() => rmSync(closed, { recursive: true, force: true }))
    const at = homeAt(join(closed, "home"), join(closed, "cache"))
    const one = await open(at)
    await one.sql((s) => s`CREATE TABLE t (x int)`)
    await one.close()
    expect(lstatSync(at.database).isSymbolicLink()).toBe(true)
    const two = await open(at)
    const base = dirname(execFileSync("readlink", [at.database], { encoding: "utf8" }).trim())
    more.push(() => rmSync(base, { recursive: true, force: true }))
    expect(await two.sql((s) => s`SELECT * FROM t`)).toEqual([])
    expect(statSync(base).mode & 0o777).toBe(0o711)
    await two.close()
    // the data of a temporary home that is gone goes with the next that is made
    const gone = homeAt(join(closed, "gone"), join(closed, "cache"))
    const left = await open(gone)
    const leftBase = dirname(execFileSync("readlink", [gone.database], { encoding: "utf8" }).trim())
    rmSync(gone.root, { recursive: true, force: true })
    expect(existsSync(leftBase)).toBe(true)
    // a home that was deleted and made anew starts empty
    rmSync(at.root, { recursive: true, force: true })
    const three = await open(at)
    expect(existsSync(leftBase)).toBe(false)
    await left.close()
    expect(await three.sql((s) => s`SELECT to_regclass('t')::text AS t`)).toEqual([{ t: null }])
    await three.close()
  })
})

describe("what it says when it cannot", () => {
  it("a newer schema", async () => {
    const at = home()
    const one = await open(at)
    await one.sql((s) => s`INSERT INTO hyper_schema (version, name) VALUES (99, '0099_future')`)
    await one.close()
    const error = await failure(at)
    expect(error).toMatchObject({ reason: "NewerSchema", remedy: "upgrade hyper" })
    expect(error.message).toMatch(/^database schema 99 is newer than this hyper knows \(\d+\)$/)
  })

  it("files of a newer PostgreSQL", async () => {
    const at = home()
    mkdirSync(at.database)
    writeFileSync(join(at.database, "PG_VERSION"), "99\n")
    expect(await failure(at)).toMatchObject({ reason: "NewerData", remedy: "upgrade hyper" })
    expect((await failure(at)).message).toContain(at.database)
  })

  it.runIf(root)("a full disk: nothing half-written, and it works once there is room", async () => {
    const mount = mkdtempSync(join(tmpdir(), "hf-"))
    more.push(() => rmSync(mount, { recursive: true, force: true }))
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=12m,mode=0755", "tmpfs", mount], { stdio: "pipe" })
    } catch (cause) {
      console.warn(`no tmpfs may be mounted here: ${String(cause)}`)
      if (process.env["CI"] === "true") throw cause
      return
    }
    more.push(() => void execFileSync("umount", [mount]))
    const at = homeAt(join(mount, "h"), join(mount, "c"))
    const error = await failure(at)
    expect(error).toMatchObject({ reason: "DiskFull" })
    expect(error.message).toContain(at.root)
    expect(existsSync(at.database)).toBe(false)
    expect(readdirSync(at.root).filter((name) => name.startsWith("pg"))).toEqual([])
    execFileSync("mount", ["-o", "remount,size=200m", mount])
    await (await open(at)).close()
  })

  it.runIf(root)("a directory that cannot be written to", async () => {
    const mount = mkdtempSync(join(tmpdir(), "hr-"))
    more.push(() => rmSync(mount, { recursive: true, force: true }))
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "ro,mode=0755", "tmpfs", mount], { stdio: "pipe" })
    } catch (cause) {
      console.warn(`no tmpfs may be mounted here: ${String(cause)}`)
      if (process.env["CI"] === "true") throw cause
      return
    }
    more.push(() => void execFileSync("umount", [mount]))
    expect(await failure(homeAt(join(mount, "h"), join(mount, "c")))).toMatchObject({ reason: "Unwritable" })
  })

  it("a database that nobody serves, without the password that was given", async () => {
    const error = await failure(home(), "postgres://u:s3cret@127.0.0.1:9/x")
    expect(error).toMatchObject({ reason: "Unreachable" })
    expect(JSON.stringify(error)).not.toContain("s3cret")
  })

  it("a migration that fails changes nothing", async () => {
    const at = home()
    const one = await open(at)
    const broken = { "0001_a": SqlClient.use((s) => s`CREATE TABLE half (x int)`), "0002_b": SqlClient.use((s) => s`CREATE TABL x`) }
    await one.sql((s) => s`DROP TABLE hyper_schema`)
    const exit = await Effect.runPromiseExit(Effect.provide(migrate(broken), databaseAtOpen(one)))
    expect(String(Exit.isFailure(exit) && Cause.squash(exit.cause))).toContain("0002_b")
    expect(await one.sql((s) => s`SELECT to_regclass('half')::text AS half, to_regclass('hyper_schema')::text AS schema`)).toEqual([{ half: null, schema: null }])
    await one.close()
  })
})

const databaseAtOpen = (opened: Awaited<ReturnType<typeof open>>) => Layer.effect(SqlClient, Effect.promise(() => opened.sql((sql) => Effect.succeed(sql))))
