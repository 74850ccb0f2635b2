/** The two databases that every test of the store runs on: a private server of a fresh home, and Debian's PostgreSQL by `DATABASE_URL`. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Layer from "effect/Layer"
import { spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { CurrentHome } from "../../src/capability/CurrentHome.ts"
import { type Home, homeAt } from "../../src/Home.ts"
import * as Database from "../../src/store/Database.ts"

/** One cache for all: the library links are made once. */
const cache = join(tmpdir(), `hyper-test-cache-${process.getuid?.()}`)
mkdirSync(cache, { recursive: true, mode: 0o755 })

export const freshHome = (parent = tmpdir()): Home => homeAt(mkdtempSync(join(parent, "hy-")), cache)

/** A finished server leaves nothing behind; a test that failed may: end it by the pid it wrote. */
export const removeHome = async (home: Home): Promise<void> => {
  const { stopDatabase } = await import("../../src/store/Database.ts")
  const { runPromise } = await import("effect/Effect")
  await runPromise(stopDatabase(home))
  // as root, a home below a closed directory has its data elsewhere
  const link = lstatSync(home.database, { throwIfNoEntry: false })
  if (link?.isSymbolicLink() === true) rmSync(dirname(readlinkSync(home.database)), { recursive: true, force: true })
  rmSync(home.root, { recursive: true, force: true })
}

export const databaseAt = (home: Home, url = "") =>
  Layer.fresh(Database.layer).pipe(Layer.provide(Layer.succeed(CurrentHome, home)), Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(url === "" ? {} : { DATABASE_URL: url }))))

const debian = (): string | undefined => {
  const root = "/usr/lib/postgresql"
  const version = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)).find((v) => existsSync(join(root, v, "bin/initdb"))) : undefined
  return version === undefined ? undefined : join(root, version, "bin")
}

/** Why there is no second PostgreSQL here, or undefined. With CI=true it must be there. */
export const noDebian = (): string | undefined => {
  if (debian() !== undefined) return undefined
  if (process.env["CI"] === "true") throw new Error("Debian's postgresql is missing: apt-get install -y postgresql")
  return "Debian's postgresql is not installed"
}

/** A second, ordinary server over TCP on loopback. */
export const debianServer = async (): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> => {
  const bin = debian()!
  const base = mkdtempSync(join(tmpdir(), "hpg-"))
  const passwd = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const user = process.getuid?.() === 0 ? passwd.find(([name]) => name === "postgres") : undefined
  const as = user === undefined ? {} : { uid: Number(user[2]), gid: Number(user[3]) }
  if (user !== undefined) chownSync(base, Number(user[2]), Number(user[3]))
  const made = spawnSync(join(bin, "initdb"), ["-D", join(base, "d"), "-U", "tester", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N"], { ...as, cwd: "/", encoding: "utf8" })
  if (made.status !== 0) throw new Error(made.stderr)
  const port = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
  const child = spawn(join(bin, "postgres"), ["-D", join(base, "d"), "-k", base, "-h", "127.0.0.1", "-p", String(port)], { ...as, cwd: "/", stdio: "ignore" })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  const stop = async () => {
    child.kill("SIGINT")
    await ended
    rmSync(base, { recursive: true, force: true })
  }
  for (let i = 0; !(existsSync(join(base, "d/postmaster.pid")) && readFileSync(join(base, "d/postmaster.pid"), "utf8").includes("ready")); i++) {
    if (child.exitCode !== null || i > 600) {
      await stop()
      throw new Error("Debian's PostgreSQL does not start")
    }
    await delay(50)
  }
  return { url: `postgres://tester@127.0.0.1:${port}/postgres`, stop }
}
