/** Real trainings in a container of a real Docker engine, killed and cancelled. To its end: packages/cli/test/container.live.test.ts. */
import { readFileSync } from "node:fs"
import { Containers } from "@hypernode/engine/capability/Containers"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { LABEL } from "@hypernode/engine/containers/labels"
import { survivorsOf } from "@hypernode/engine/jobs/endSurvivors"
import { parseIdentity } from "@hypernode/engine/jobs/ProcessIdentity"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { missingPython, train, World } from "./world.ts"

const lacks = noDockerd() ?? missingPython
if (lacks !== undefined) console.warn(`skipped: training in a container (${lacks})`)

const options = { epochs: 10_000, maxSteps: 100_000, lr: 2e-3, batchSize: 4, sequenceLength: 128, sandbox: "required" } as const

const cmdline = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1")
  } catch {
    return "" // gone in between
  }
}

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (const end = Date.now() + 120_000; !holds();) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
const containers = (labels: Readonly<Record<string, string>>) => Effect.runPromise(Effect.provide(Effect.flatMap(Containers, (c) => c.list(labels)), containersLayer))

describe.skipIf(lacks !== undefined)("torchrun in a container", () => {
  let engine: TestEngine
  let world: World
  let input: Awaited<ReturnType<World["shards"]>>
  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
    world = await World.make()
    input = await world.shards(2)
  })
  afterAll(async () => {
    await world?.dispose()
    await engine?.stop()
  })

  it("kill -9 of its supervisor: the container is gone when the loss is told, swept before the next attempt; and a cancelled one leaves nothing", async () => {
    const context = await world.training(options, input, "killed")
    const handle = await world.run(train.start(context))
    await until("a rank", () => survivorsOf(handle.directory).some((pid) => cmdline(pid).includes("hyper_trainer.train")))
    expect(await containers({ [LABEL.run]: "run-1", [LABEL.step]: "killed", [LABEL.job]: handle.id })).toMatchObject([{ state: "running" }])
    process.kill(parseIdentity(handle.supervisor)!.pid, "SIGKILL")
    expect(await world.run(Effect.flip(train.collect(context, handle)))).toMatchObject({ reason: "JobFailed", message: expect.stringContaining("supervisor") })
    expect(survivorsOf(handle.directory)).toEqual([])
    const again = await world.training(options, input, "killed", 2)
    const second = await world.run(train.start(again))
    // what the first one left on the engine was swept before the second began
    expect((await containers({ [LABEL.step]: "killed" })).filter(({ labels }) => labels[LABEL.job] === handle.id)).toEqual([])
    await until("the second one", () => survivorsOf(second.directory).length > 1)
    await world.run(train.cancel(again, second))
    expect(survivorsOf(second.directory)).toEqual([])
    expect(await containers({ [LABEL.step]: "killed" })).toEqual([])
    expect(await world.run(Effect.flip(train.collect(again, second)))).toMatchObject({ reason: "Cancelled" })
  })
})
