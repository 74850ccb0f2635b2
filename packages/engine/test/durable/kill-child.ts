/**
 * A daemon that dies: it runs synthetic workflows and kills itself at the point that its command line names, until one of its
 * successors lives to the end. Every body writes to a journal outside the database; the test judges by the journal alone.
 *
 * node kill-child.ts <home> <journal> <workflows> <kill at hook number, or 0> <forget: 0|1> <generation>; says "open" when it begins
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { appendFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { homeAt } from "../../src/Home.ts"
import { type DurableSteps, StepFailure, type WorkflowBody } from "../../src/run/Durable.ts"
import { hashOf } from "../../src/durable/embedded/Protocol.ts"
import { databaseAt } from "../store/databases.ts"
import { daemon } from "./harness.ts"

const [root, journalFile, workflows, killAt, forget, generation] = process.argv.slice(2) as [string, string, string, string, string, string]
const home = homeAt(root, `${root}-cache`)
const journal = (line: object): void => appendFileSync(journalFile, `${JSON.stringify({ pid: process.pid, ...line })}\n`)

let hooks = 0
/** A place where it may die. */
const hook = (): void => {
  if (++hooks === Number(killAt)) process.kill(process.pid, "SIGKILL")
}

const body: WorkflowBody = async (runId, steps) => {
  const step = async <A>(id: string, work: (attempt: number) => Promise<A>): Promise<A> => {
    const result = await steps.run(id, async (attempt) => {
      journal({ run: runId, step: id, hash: hashOf(id), attempt })
      hook()
      await delay(1)
      hook()
      return await work(attempt)
    })
    hook()
    return result
  }
  journal({ run: runId, result: await workflow(step, steps, runId) })
}

const workflow = async (step: <A>(id: string, work: (attempt: number) => Promise<A>) => Promise<A>, steps: DurableSteps, runId: string): Promise<number> => {
  let sum = 0
  for (let i = 0; i < 6; i++) sum += await step(`a${i}`, async () => i)
  const branches = await Promise.all(
    [0, 1, 2].map(async (b) => {
      const first = await step(`b${b}.0`, async () => b)
      return first + (await step(`b${b}.1`, async () => 10))
    })
  )
  sum += branches.reduce((x, y) => x + y)
  await steps.sleep("nap", 20)
  sum += await step("retried", async (attempt) => {
    if (attempt < 3) throw new StepFailure("again", { retry: true })
    return 100
  })
  await step("job", async () => void setTimeout(() => void d.send("job.ended", { run: runId }), 5))
  // the event dies with the process that was to send it, so the wait has an end
  const event = await steps.waitForEvent("wait", { event: "job.ended", match: { run: runId }, timeoutMillis: 300 })
  sum += await step("last", async () => (event === null || (event as { run: string }).run === runId ? 1000 : -1))
  return sum
}

const recorded = Effect.fnUntraced(function* (sql: SqlClient) {
  const steps = yield* sql<{ run_id: string; hash: string }>`SELECT run_id, hash FROM durable_steps ORDER BY position`
  journal({ recorded: steps.map(({ hash, run_id }) => `${run_id} ${hash}`) })
})

// the planted fault: what was recorded is forgotten before the executor reads it
if (forget === "1") {
  await Effect.runPromise(
    SqlClient.use((sql) => Effect.andThen(recorded(sql), sql`DELETE FROM durable_steps WHERE position % 2 = 0`)).pipe(Effect.provide(databaseAt(home)))
  )
}

let open: () => void
const ready = new Promise<void>((resolve) => (open = resolve))
const d = daemon(home, async (runId, steps) => (await ready, body(runId, steps)), { backOffMillis: 5 })
const ids = Array.from({ length: Number(workflows) }, (_, i) => `g${generation}r${i}`)
await d.sql(recorded)
open!()
process.stdout.write("open\n")
for (const id of ids) await d.start(id)
await Promise.all(ids.map((id) => d.settled(id)))
await d.close()
