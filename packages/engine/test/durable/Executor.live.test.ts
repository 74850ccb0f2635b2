import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type DurableSteps, StepFailure } from "../../src/run/Durable.ts"
import { debianServer, freshHome, noDebian, removeHome } from "../store/databases.ts"
import { type Daemon, daemon, switchboard } from "./harness.ts"

const suite = (name: string, connect: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>) =>
  describe(name, () => {
    const home = freshHome()
    const { bodies, body } = switchboard()
    let d: Daemon
    let server: Awaited<ReturnType<typeof connect>>
    let counter = 0
    beforeAll(async () => {
      server = await connect()
      d = daemon(home, body, {}, server.url)
      await d.sql((sql) => sql`SELECT 1`)
    })
    afterAll(async () => {
      await d?.close()
      await removeHome(home)
      await server?.stop()
    })

    const run = async (own: (steps: DurableSteps) => Promise<void>) => {
      const id = `w${counter++}`
      bodies.set(id, own)
      await d.start(id)
      return id
    }
    const finished = async (own: (steps: DurableSteps) => Promise<void>) => {
      const id = await run(own)
      await d.settled(id)
      return d.sql((sql) => sql<{ status: string; error: string | null }>`SELECT status, error FROM durable_runs WHERE id = ${id}`).then(([row]) => row!)
    }
    const restart = async () => {
      await d.close()
      d = daemon(home, body, {}, server.url)
      await d.sql((sql) => sql`SELECT 1`)
    }

    it("runs steps in order, each once, and hands JSON on", async () => {
      const seen: Array<string> = []
      const row = await finished(async (steps) => {
        let sum = 0
        for (let i = 0; i < 20; i++) {
          const { value } = await steps.run(`s${i}`, async () => {
            seen.push(`s${i}`)
            return { value: i, none: undefined, text: "\u0000é" }
          })
          sum += value
        }
        expect(await steps.run("undefined", async () => undefined)).toBeNull()
        // the same id twice is two steps
        expect(await steps.run("twice", async () => 1)).toBe(1)
        expect(await steps.run("twice", async () => 2)).toBe(2)
        expect(sum).toBe(190)
      })
      expect(row).toEqual({ status: "ended", error: null })
      expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `s${i}`))
    })

    it("tries a step again, counting from 1, and starts anew for the next", async () => {
      const attempts: Array<string> = []
      const row = await finished(async (steps) => {
        for (const step of ["a", "b"]) {
          await steps.run(step, async (attempt) => {
            attempts.push(`${step}${attempt}`)
            if (attempt < 4) throw new Error("not yet")
            return attempt
          })
        }
        await steps.run("c", async (attempt) => attempts.push(`c${attempt}`))
      })
      expect(row.status).toBe("ended")
      expect(attempts).toEqual(["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "c1"])
    })

    it("gives a step up after its tries, or at once when it says so, and the workflow may go on", async () => {
      let tries = 0
      let messages: Array<string> = []
      const row = await finished(async (steps) => {
        const caught: Array<string> = []
        const message = (cause: unknown) => caught.push((cause as Error).message)
        await steps.run("final", async () => Promise.reject(new StepFailure("broken for good", { retry: false }))).catch(message)
        await steps.run("worn out", async () => {
          tries++
          throw new StepFailure("still broken", { retry: true })
        }).catch(message)
        await steps.run("after", async () => (messages = caught))
      })
      expect(row.status).toBe("ended")
      expect(messages).toEqual(["broken for good", "still broken"])
      expect(tries).toBe(4)
    })

    it("waits as long as a failure asks", async () => {
      const at: Array<number> = []
      await finished(async (steps) => {
        await steps.run("later", async (attempt) => {
          at.push(Date.now())
          if (attempt === 1) throw new StepFailure("later", { retry: true, retryAfter: 1 })
        })
      })
      // the back-off alone would be 10 ms
      expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(990)
    })

    it("fails the workflow on an uncaught step failure, and on its own error after its tries", async () => {
      expect(await finished(async (steps) => steps.run("x", async () => Promise.reject(new StepFailure("no", { retry: false }))))).toEqual({ status: "failed", error: "no" })
      let entries = 0
      const row = await finished(async () => {
        entries++
        throw new Error("a bug in the workflow")
      })
      expect(row).toEqual({ status: "failed", error: "a bug in the workflow" })
      expect(entries).toBe(4)
    })

    it("sleeps, to the millisecond and not shorter", async () => {
      const at: Array<number> = []
      await finished(async (steps) => {
        await steps.run("before", async () => at.push(Date.now()))
        await steps.sleep("nap", 150)
        await steps.run("after", async () => at.push(Date.now()))
      })
      expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(145)
    })

    it("runs parallel branches at the same time, each step once", async () => {
      const seen: Array<string> = []
      let atOnce = 0
      let most = 0
      let total = 0
      const row = await finished(async (steps) => {
        const branch = async (name: string) => {
          let sum = 0
          for (let i = 0; i < 3; i++) {
            sum += await steps.run(`${name}${i}`, async () => {
              seen.push(`${name}${i}`)
              most = Math.max(most, ++atOnce)
              await delay(15)
              atOnce--
              return i
            })
          }
          return sum
        }
        const sums = await Promise.all(["a", "b", "c", "d"].map(branch))
        await steps.run("end", async () => (total = sums.reduce((x, y) => x + y)))
      })
      expect(row.status).toBe("ended")
      expect(total).toBe(12)
      expect(seen.length).toBe(12)
      expect(new Set(seen).size).toBe(12)
      expect(most).toBeGreaterThan(1)
    })

    it("tries a parallel branch's step again without its neighbours", async () => {
      const seen: Array<string> = []
      await finished(async (steps) => {
        await Promise.all(
          ["a", "b"].map((name) =>
            steps.run(name, async (attempt) => {
              seen.push(`${name}${attempt}`)
              if (name === "b" && attempt < 3) throw new Error("again")
            })
          )
        )
      })
      expect(seen.sort()).toEqual(["a1", "b1", "b2", "b3"])
    })

    it("delivers the event that matches, to everybody who waits, and null after the time-out", async () => {
      const got: Record<string, unknown> = {}
      const waiter = (key: string) => async (steps: DurableSteps) => {
        const event = await steps.waitForEvent("w", { event: "ping", match: { job: "j1" }, timeoutMillis: 20_000 })
        await steps.run("got", async () => void (got[key] = event))
      }
      const ids = [await run(waiter("one")), await run(waiter("two"))]
      const waiting = () => d.sql((sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM durable_waits WHERE event = 'ping'`).then(([row]) => row!.n)
      while ((await waiting()) < 2) await delay(10)
      await d.send("ping", { job: "j0" })
      await d.send("pong", { job: "j1" })
      await d.send("ping", { job: "j1", more: "x" })
      for (const id of ids) await d.settled(id)
      expect(got).toEqual({ one: { job: "j1", more: "x" }, two: { job: "j1", more: "x" } })
      let late: unknown = "unset"
      await finished(async (steps) => {
        const event = await steps.waitForEvent("w", { event: "ping", match: { job: "never" }, timeoutMillis: 60 })
        await steps.run("late", async () => void (late = event))
      })
      expect(late).toBeNull()
    })

    it("does not lose an event sent in the instant before its wait is written down", async () => {
      let event: unknown
      await finished(async (steps) => {
        await steps.run("start the job", async () => d.send("ended", { job: "quick" }))
        const found = await steps.waitForEvent("w", { event: "ended", match: { job: "quick" }, timeoutMillis: 20_000 })
        await steps.run("keep", async () => void (event = found))
      })
      expect(event).toEqual({ job: "quick" })
    })

    it("waits beside steps", async () => {
      const order: Array<string> = []
      const id = await run(async (steps) => {
        await Promise.all([
          steps.waitForEvent("w", { event: "go", match: {}, timeoutMillis: 20_000 }).then(() => steps.run("after event", async () => order.push("event"))),
          (async () => {
            await steps.run("a", async () => order.push("a"))
            await steps.sleep("nap", 20)
            await steps.run("b", async () => order.push("b"))
            await steps.run("send", async () => d.send("go", { x: "1" }))
          })()
        ])
      })
      await d.settled(id)
      expect(order).toEqual(["a", "b", "event"])
    })

    it("cancels: a running body ends, nothing comes after it, and a second start changes nothing", async () => {
      const seen: Array<string> = []
      let release: () => void = () => undefined
      const id = await run(async (steps) => {
        await steps.run("long", () => new Promise<void>((resolve) => (seen.push("long"), (release = resolve))))
        await steps.run("never", async () => seen.push("never"))
      })
      while (seen.length === 0) await delay(5)
      await d.cancel(id)
      await d.settled(id)
      release()
      await delay(100)
      await d.start(id)
      await delay(100)
      expect(seen).toEqual(["long"])
      const sleeper = await run((steps) => steps.sleep("forever", 1e10))
      await delay(50)
      await d.cancel(sleeper)
      await d.settled(sleeper)
      expect(await d.sql((sql) => sql`SELECT 1 FROM durable_waits WHERE run_id = ${sleeper}`)).toEqual([])
    })

    it("starts once however often it is told, and knows what was never started", async () => {
      let entries = 0
      const id = `w${counter++}`
      bodies.set(id, async (steps) => void (await steps.run("a", async () => entries++)))
      await Promise.all(Array.from({ length: 10 }, () => d.start(id)))
      await d.settled(id)
      await d.start(id)
      await delay(50)
      expect(entries).toBe(1)
      const exit = await d.settled("nobody").then(() => Exit.void, (cause: unknown) => Exit.failCause(Cause.fail(cause)))
      expect(Exit.isFailure(exit)).toBe(true)
    })

    it("drives 64 workflows of 10 steps at once", async () => {
      const counts = new Map<string, number>()
      const ids = await Promise.all(
        Array.from({ length: 64 }, (_, r) =>
          run(async (steps) => {
            for (let i = 0; i < 10; i++) await steps.run(`s${i}`, async () => counts.set(`${r}.${i}`, (counts.get(`${r}.${i}`) ?? 0) + 1))
          })
        )
      )
      await Promise.all(ids.map((id) => d.settled(id)))
      expect(counts.size).toBe(640)
      expect([...counts.values()].every((n) => n === 1)).toBe(true)
    })

    it("goes on after a restart: steps, sleeps, waits and tries that were under way", async () => {
      const seen: Array<string> = []
      const step = (steps: DurableSteps, name: string) => steps.run(name, async () => void seen.push(name))
      const sleeping = await run(async (steps) => {
        await step(steps, "s1")
        await steps.sleep("nap", 600)
        await step(steps, "s2")
      })
      const waiting = await run(async (steps) => {
        await step(steps, "w1")
        const event = await steps.waitForEvent("w", { event: "back", match: { k: "v" }, timeoutMillis: 60_000 })
        await steps.run("w2", async () => void seen.push(`w2 ${JSON.stringify(event)}`))
      })
      const trying = await run(async (steps) => {
        await steps.run("t1", async (attempt) => {
          seen.push(`t1.${attempt}`)
          if (attempt === 1) throw new StepFailure("later", { retry: true, retryAfter: 1 })
        })
      })
      while ((await d.sql((sql) => sql<{ n: number }>`SELECT count(*)::int AS n FROM durable_waits`))[0]!.n < 3) await delay(10)
      await restart()
      await d.send("back", { k: "v" })
      await Promise.all([sleeping, waiting, trying].map((id) => d.settled(id)))
      expect(seen.filter((name) => name === "s1" || name === "w1").length).toBe(2)
      expect(seen).toContain("s2")
      expect(seen).toContain('w2 {"k":"v"}')
      expect(seen.filter((name) => name.startsWith("t1"))).toEqual(["t1.1", "t1.2"])
    })

    it.runIf(name === "private")("outlives a kill -9 of the database: everything completes, and no body runs again", async () => {
      const counts = new Map<string, number>()
      const ids = await Promise.all(
        Array.from({ length: 8 }, (_, r) =>
          run(async (steps) => {
            for (let i = 0; i < 40; i++) {
              await steps.run(`s${i}`, async () => {
                counts.set(`${r}.${i}`, (counts.get(`${r}.${i}`) ?? 0) + 1)
                await delay(2)
              })
            }
          })
        )
      )
      while (counts.size < 80) await delay(1)
      process.kill(Number(readFileSync(join(home.database, "postmaster.pid"), "utf8").split("\n")[0]), "SIGKILL")
      await Promise.all(ids.map((id) => d.settled(id).catch(() => delay(3000).then(() => d.settled(id)))))
      expect(counts.size).toBe(320)
      expect([...counts.values()].filter((n) => n !== 1)).toEqual([])
    })

    it("a workflow that another daemon took over writes no more", async () => {
      const seen: Array<string> = []
      let release: () => void = () => undefined
      const id = await run(async (steps) => {
        await steps.run("a", () => new Promise<void>((resolve) => (seen.push("a"), (release = resolve))))
        await steps.run("b", async () => void seen.push("b"))
      })
      while (seen.length === 0) await delay(5)
      await d.sql((sql) => sql`UPDATE durable_runs SET epoch = epoch + 1 WHERE id = ${id}`)
      release()
      await delay(200)
      expect(seen).toEqual(["a"])
      expect(await d.sql((sql) => sql`SELECT 1 FROM durable_steps WHERE run_id = ${id}`)).toEqual([])
      await d.sql((sql) => sql`DELETE FROM durable_runs WHERE id = ${id}`)
    })
  })

suite("private", async () => ({ url: "", stop: async () => undefined }))
const missing = noDebian()
if (missing === undefined) suite("DATABASE_URL", debianServer)
else it.skip(`the same on DATABASE_URL: ${missing}`, () => undefined)
