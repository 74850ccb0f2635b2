import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { SqlClient } from "effect/sql/SqlClient"
import { spawn } from "node:child_process"
import { hostname } from "node:os"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { Fence, type FenceError } from "../../src/store/Fence.ts"
import { databaseAt, debianServer, freshHome, noDebian, removeHome } from "./databases.ts"

const suite = (name: string, connect: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>) =>
  describe(name, () => {
    const home = freshHome()
    let server: Awaited<ReturnType<typeof connect>>
    const opened: Array<{ dispose: () => Promise<void> }> = []
    beforeAll(async () => void (server = await connect()))
    afterEach(async () => {
      for (const runtime of opened.splice(0)) await runtime.dispose()
    })
    afterAll(async () => {
      await removeHome(home)
      await server.stop()
    })
    const daemon = () => {
      const runtime = ManagedRuntime.make(Layer.provideMerge(Layer.fresh(Fence.layer), databaseAt(home, server.url)))
      opened.push(runtime)
      return runtime
    }
    const refusal = async (): Promise<FenceError> => {
      const exit = await daemon().runPromiseExit(Fence)
      if (Exit.isSuccess(exit)) throw new Error("two daemons own one database")
      return Cause.squash(exit.cause) as FenceError
    }

    it("lets one daemon in, names it to the second, and lets the next in when it leaves, with a higher epoch", async () => {
      const one = daemon()
      const { epoch } = await one.runPromise(Fence)
      const error = await refusal()
      expect(error).toMatchObject({ _tag: "FenceError", pid: process.pid, host: hostname() })
      expect(error.message).toContain(`pid ${process.pid} on host ${hostname()}`)
      expect(error.remedy).toContain("hyper stop")
      await one.dispose()
      expect((await daemon().runPromise(Fence)).epoch).toBeGreaterThan(epoch)
    })

    it("lets a successor in at once after a kill -9", async () => {
      const child = spawn(process.execPath, [fileURLToPath(new URL("hold-child.ts", import.meta.url)), home.root, home.cache, "fence"], {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, DATABASE_URL: server.url }
      })
      try {
        await new Promise((resolve) => child.stdout.once("data", resolve))
        expect((await refusal()).pid).toBe(child.pid)
      } finally {
        child.kill("SIGKILL")
      }
      await new Promise((resolve) => child.once("close", resolve))
      await daemon().runPromise(Fence)
    })

    it("holds the lock again when its connection broke, and knows when another was faster", async () => {
      const one = daemon()
      const fence = await one.runPromise(Fence)
      const breakLine = one.runPromise(SqlClient.use((sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 6846842::oid`))
      await breakLine
      for (let held = false; !held; ) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        const [row] = await one.runPromise(SqlClient.use((sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND objid = 6846842::oid`))
        held = row!.n === 1
      }
      await one.runPromise(SqlClient.use((sql) => sql`INSERT INTO daemon_epochs (pid, host, process, started_at) VALUES (1, 'other', 'x', 0)`))
      await one.runPromise(SqlClient.use((sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 6846842::oid`))
      await Effect.runPromise(fence.lost)
    })
  })

suite("private", async () => ({ url: "", stop: async () => undefined }))
const missing = noDebian()
if (missing === undefined) suite("DATABASE_URL", debianServer)
else it.skip(`the same on DATABASE_URL: ${missing}`, () => undefined)
