/**
 * The Unix socket of one job: `<sockets>/<hash>/s`. It has a directory of its own, so that a sandbox can bind the directory and a worker
 * inside still finds the socket after a restart of the daemon has made a new one. The file is open to every uid (a sandboxed worker has
 * another); who can reach it is decided by the directories above, and what it gives by the token.
 */
import { chmod, lstat, mkdir, rm, rmdir } from "node:fs/promises"
import { createServer, type Socket } from "node:net"
import { dirname, join } from "node:path"
import { jobName } from "./LeaseFiles.ts"

const MAX_REQUEST_BYTES = 16 << 10
const PATIENCE_MILLIS = 10_000

export const socketPath = (sockets: string, jobId: string): string => join(sockets, jobName(jobId).slice(0, 12), "s")

export interface LeaseSocket {
  /**
   * `forget`: the lease is over and its directory goes too. Without it the directory stays: a sandbox that outlives this daemon has it
   * bound, and finds the next daemon's socket in it.
   */
  readonly close: (options?: { readonly forget: boolean }) => Promise<void>
}

/** The directory must be ours alone: below a shared temporary directory another user could have made it first. */
const prepare = async (sockets: string, path: string): Promise<void> => {
  await mkdir(sockets, { recursive: true, mode: 0o700 })
  const stat = await lstat(sockets)
  if (!stat.isDirectory() || (process.getuid !== undefined && stat.uid !== process.getuid()) || (stat.mode & 0o022) !== 0) {
    throw new Error(`${sockets} is not a directory of ours alone: remove it and start again`)
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o711 })
  await chmod(dirname(path), 0o711)
  await rm(path, { force: true })
}

/** Nothing of an ended lease stays. */
export const forgetLeaseSocket = async (sockets: string, jobId: string): Promise<void> => {
  await rm(socketPath(sockets, jobId), { force: true })
  await rmdir(dirname(socketPath(sockets, jobId))).catch(() => undefined)
}

/** `answer` gets the request's line and gives the reply's; it never rejects. */
export const openLeaseSocket = async (sockets: string, jobId: string, answer: (line: string) => Promise<string>): Promise<LeaseSocket> => {
  const path = socketPath(sockets, jobId)
  await prepare(sockets, path)
  const connections = new Set<Socket>()
  const server = createServer((connection) => {
    connections.add(connection)
    connection.setTimeout(PATIENCE_MILLIS, () => connection.destroy())
    connection.on("error", () => connection.destroy())
    connection.on("close", () => connections.delete(connection))
    let received = Buffer.alloc(0)
    let asked = false
    connection.on("data", (bytes: Buffer) => {
      if (asked) return
      received = Buffer.concat([received, bytes])
      const end = received.indexOf(10)
      if (end === -1 && received.length <= MAX_REQUEST_BYTES) return
      asked = true
      // The answer may take longer than the question.
      connection.setTimeout(0)
      const reply = end === -1 || end > MAX_REQUEST_BYTES ? Promise.resolve(JSON.stringify({ v: 1, error: "the request is too long" })) : answer(received.toString("utf8", 0, end))
      void reply.then((line) => connection.end(`${line}\n`), () => connection.destroy())
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(path, () => {
      server.off("error", reject)
      server.on("error", () => undefined)
      resolve()
    })
  })
  await chmod(path, 0o666)
  return {
    close: async (options) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const connection of connections) connection.destroy()
      await closed
      await rm(path, { force: true })
      if (options?.forget === true) await forgetLeaseSocket(sockets, jobId)
    }
  }
}
