/** Restate's side of bench/durable-step.ts, copied beside its node_modules. node restate.mjs <service port> <ingress url> <admin url> */
import * as restate from "@restatedev/restate-sdk"
import { createInterface } from "node:readline"

const [port, ingress, admin] = process.argv.slice(2)
const bench = restate.service({
  name: "bench",
  handlers: {
    run: async (ctx, count) => {
      let sum = 0
      for (let i = 0; i < count; i++) sum += await ctx.run(`s${i}`, () => i)
      return sum
    }
  }
})
await restate.serve({ services: [bench], port: Number(port) })
const post = async (url, body) => {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response.json()
}
await post(`${admin}/deployments`, { uri: `http://127.0.0.1:${port}` })
const run = async (count) => {
  if ((await post(`${ingress}/bench/run`, count)) !== (count * (count - 1)) / 2) throw new Error("wrong sum")
}
for (let tries = 0; ; tries++) {
  try {
    await run(1)
    break
  } catch (cause) {
    if (tries > 100) throw cause
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
process.stdout.write("ready\n")
for await (const line of createInterface({ input: process.stdin })) {
  const { runs, steps } = JSON.parse(line)
  const from = performance.now()
  await Promise.all(Array.from({ length: runs }, () => run(steps)))
  process.stdout.write(`${JSON.stringify({ millis: performance.now() - from })}\n`)
}
process.exit(0)
