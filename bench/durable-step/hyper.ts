/** Our side of bench/durable-step.ts: reads `{"steps":n,"runs":m}` a line, answers `{"millis":t}`. node hyper.ts <home> */
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { embeddedDurable } from "@hypernode/engine/durable/EmbeddedDurable"
import { homeAt } from "@hypernode/engine/Home"
import { Durable } from "@hypernode/engine/run/Durable"
import * as Database from "@hypernode/engine/store/Database"
import { Fence } from "@hypernode/engine/store/Fence"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { createInterface } from "node:readline"

const root = process.argv[2]!
const database = Layer.provide(Database.layer, Layer.succeed(CurrentHome, homeAt(root, `${root}-cache`)))
const durable = embeddedDurable(async (runId, steps) => {
  const count = Number(runId.split(".")[1])
  let sum = 0
  for (let i = 0; i < count; i++) sum += await steps.run(`s${i}`, async () => i)
  if (sum !== (count * (count - 1)) / 2) throw new Error("wrong sum")
})
const runtime = ManagedRuntime.make(Layer.provide(durable, Layer.provideMerge(Fence.layer, database)))

let number = 0
const run = (count: number) => {
  const id = `b${Date.now()}${number++}.${count}`
  return runtime.runPromise(Durable.use((d) => Effect.andThen(d.start(id), d.settled(id))))
}

await run(1)
process.stdout.write("ready\n")
for await (const line of createInterface({ input: process.stdin })) {
  const { runs, steps } = JSON.parse(line) as { steps: number; runs: number }
  const from = performance.now()
  await Promise.all(Array.from({ length: runs }, () => run(steps)))
  process.stdout.write(`${JSON.stringify({ millis: performance.now() - from })}\n`)
}
await runtime.dispose()
