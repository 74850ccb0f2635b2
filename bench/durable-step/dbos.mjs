/** DBOS's side of bench/durable-step.ts, copied beside its node_modules. node dbos.mjs <database url> */
import { DBOS } from "@dbos-inc/dbos-sdk"
import { createInterface } from "node:readline"

DBOS.setConfig({ name: "bench", systemDatabaseUrl: process.argv[2], systemDatabasePoolSize: 24, logLevel: "error", runAdminServer: false })
const workflow = DBOS.registerWorkflow(
  async (count) => {
    let sum = 0
    for (let i = 0; i < count; i++) sum += await DBOS.runStep(async () => i, { name: `s${i}` })
    return sum
  },
  { name: "bench" }
)
await DBOS.launch()
const run = async (count) => {
  if ((await (await DBOS.startWorkflow(workflow)(count)).getResult()) !== (count * (count - 1)) / 2) throw new Error("wrong sum")
}
await run(1)
process.stdout.write("ready\n")
for await (const line of createInterface({ input: process.stdin })) {
  const { runs, steps } = JSON.parse(line)
  const from = performance.now()
  await Promise.all(Array.from({ length: runs }, () => run(steps)))
  process.stdout.write(`${JSON.stringify({ millis: performance.now() - from })}\n`)
}
await DBOS.shutdown()
process.exit(0)
