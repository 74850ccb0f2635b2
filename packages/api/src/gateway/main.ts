/**
 * The gateway process: `node main.ts <home>/gateway`. Started by the engine, detached; outlives CLI and daemon; ends on SIGTERM.
 * Knows no SQL and no effect. Everything it needs is in its directory; the only environment it reads is HYPER_GATEWAY_PORT.
 */
import { randomUUID } from "node:crypto"
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { getRequestListener } from "@hono/node-server"
import { gatewayFiles, type GatewayState } from "@hypernode/engine/endpoints/GatewayState"
import { identityOf, isRunning, type ProcessIdentity } from "@hypernode/engine/jobs/ProcessIdentity"
import { gatewayApp } from "./app.ts"
import { listen } from "./listen.ts"
import { Quota } from "./Quota.ts"
import { SnapshotSource } from "./SnapshotSource.ts"
import { Upstreams } from "./Upstream.ts"
import { UsageLog } from "./UsageLog.ts"

const log = (line: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}
const die = (message: string, code: number): never => {
  log(message)
  process.exit(code)
}
const readJson = <A>(path: string): A | undefined => {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as A
  } catch {
    return undefined
  }
}

const directory = process.argv[2] ?? die("usage: main.ts <gateway directory>", 64)
process.umask(0o077)
const files = gatewayFiles(directory)
mkdirSync(files.usageDirectory, { recursive: true, mode: 0o700 })
chmodSync(directory, 0o700)
const self = identityOf(process.pid) as ProcessIdentity

/** One gateway per directory: two would write one usage log. `link` fails where the name is taken, so only one can win it. */
const lock = (): void => {
  const mine = `${files.lock}.${process.pid}`
  writeFileSync(mine, JSON.stringify(self))
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      linkSync(mine, files.lock)
      break
    } catch {
      const holder = readJson<ProcessIdentity>(files.lock)
      if (holder !== undefined && isRunning(holder)) {
        rmSync(mine)
        die(`a gateway for ${directory} already runs as process ${holder.pid}`, 3)
      }
      if (holder === undefined) continue
      // stale: take it away under a name of our own, and give it back if another starter had put its own there meanwhile
      const stale = `${files.lock}.stale.${process.pid}`
      try {
        renameSync(files.lock, stale)
        const taken = readJson<ProcessIdentity>(stale)
        if (taken !== undefined && isRunning(taken)) linkSync(stale, files.lock)
        rmSync(stale)
      } catch {
        // somebody else was faster: look again
      }
    }
  }
  rmSync(mine, { force: true })
  const holder = readJson<ProcessIdentity>(files.lock)
  if (holder?.pid !== self.pid || holder.startTime !== self.startTime) die(`cannot take ${files.lock}`, 3)
}

/** (gateway, sequence) names a record for ever: where the log with the last sequence is gone, so is the id. */
const gatewayId = (): string => {
  try {
    if (existsSync(files.usage)) return readFileSync(files.id, "utf8").trim()
  } catch {
    log(`${files.id} cannot be read: a new id is made`)
  }
  const made = `gw-${randomUUID()}`
  writeFileSync(files.id, `${made}\n`)
  return made
}

lock()
const id = gatewayId()
const quota = new Quota()
const usage = new UsageLog(files.usage, id, quota, log)
const source = new SnapshotSource(files, log)
const upstreams = new Upstreams()
const app = gatewayApp({ gateway: id, source, quota, usage, upstreams, bodyLimit: 16 * 1024 * 1024 })
const server = createServer(getRequestListener(app.fetch))
server.requestTimeout = 60_000
server.keepAliveTimeout = 30_000

const explicit = process.env["HYPER_GATEWAY_PORT"]
const port = await listen(server, explicit, readJson<GatewayState>(files.state)?.port).catch((error: Error) => die(error.message, 4))
const unfollow = source.follow()
writeFileSync(`${files.state}.tmp`, JSON.stringify({ ...self, gateway: id, port } satisfies GatewayState), { mode: 0o600 })
renameSync(`${files.state}.tmp`, files.state)
log(`gateway ${id} listens on 127.0.0.1:${port}, snapshot ${source.current.version}, usage continues after ${usage.sequence}`)

let leaving = false
const leave = (signal: string): void => {
  if (leaving) return
  leaving = true
  log(`${signal}: leaving`)
  unfollow()
  server.close(() => {
    upstreams.close()
    usage.close()
    rmSync(files.lock, { force: true })
    process.exit(0)
  })
  // a kept connection turns idle when its answer is out, and would hold the process until its timeout
  setInterval(() => server.closeIdleConnections(), 50).unref()
  // answers under way get ten seconds, then their callers are cut off (and metered)
  setTimeout(() => server.closeAllConnections(), 10_000).unref()
}
process.on("SIGTERM", () => leave("SIGTERM"))
process.on("SIGINT", () => leave("SIGINT"))
process.on("uncaughtException", (error) => log(`uncaught: ${error.stack ?? error.message}`))
process.on("unhandledRejection", (error) => log(`unhandled: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`))
