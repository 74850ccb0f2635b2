/** Takes a loopback port: the one that was asked for or none; otherwise the last one (so that URLs stay), 8484, or the next that is free. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { Server } from "node:http"

export const PREFERRED_PORT = 8484
const TRIES = 64

const attempt = (server: Server, port: number): Promise<NodeJS.ErrnoException | undefined> =>
  new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error)
    server.once("error", failed)
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      server.off("error", failed)
      resolve(undefined)
    })
  })

export const listen = async (server: Server, explicit: string | undefined, last: number | undefined): Promise<number> => {
  if (explicit !== undefined && explicit !== "") {
    const port = Number(explicit)
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error(`HYPER_GATEWAY_PORT is ${JSON.stringify(explicit)}; it must be a port from 1 to 65535`)
    const error = await attempt(server, port)
    if (error === undefined) return port
    if (error.code === "EADDRINUSE") {
      const owner = portOwner(port)
      throw new Error(`port ${port} (HYPER_GATEWAY_PORT) is in use${owner === undefined ? "" : ` by process ${owner}`}; end that process, choose another port, or unset HYPER_GATEWAY_PORT`)
    }
    throw new Error(`port ${port} (HYPER_GATEWAY_PORT) cannot be opened: ${error.message}`)
  }
  const candidates = [...(last === undefined ? [] : [last]), ...Array.from({ length: TRIES }, (_, i) => PREFERRED_PORT + i)]
  for (const port of candidates) {
    const error = await attempt(server, port)
    if (error === undefined) return port
    if (error.code !== "EADDRINUSE" && error.code !== "EACCES") throw error
  }
  throw new Error(`ports ${PREFERRED_PORT} to ${PREFERRED_PORT + TRIES - 1} are all in use; set HYPER_GATEWAY_PORT to a free one`)
}

/** Linux, and only for processes of this user: the pid that listens on a TCP port. */
export const portOwner = (port: number): number | undefined => {
  try {
    const hex = port.toString(16).toUpperCase().padStart(4, "0")
    const rows = [...readFileSync("/proc/net/tcp", "utf8").split("\n"), ...readFileSync("/proc/net/tcp6", "utf8").split("\n")].map((row) => row.trim().split(/\s+/))
    const inode = rows.find((row) => row[1]?.endsWith(`:${hex}`) === true && row[3] === "0A")?.[9]
    if (inode === undefined) return undefined
    for (const pid of readdirSync("/proc")) {
      if (!/^\d+$/.test(pid)) continue
      try {
        if (readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`)) return Number(pid)
      } catch {
        // of another user, or gone meanwhile
      }
    }
  } catch {
    return undefined
  }
  return undefined
}
