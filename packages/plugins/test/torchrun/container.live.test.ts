/** Real trainings in a container of a real Docker engine: to their end, killed, cancelled; and what is on the engine's disk afterwards. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { Containers } from "@hypernode/engine/capability/Containers"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { LABEL } from "@hypernode/engine/containers/labels"
import { survivorsOf } from "@hypernode/engine/jobs/endSurvivors"
import { parseIdentity } from "@hypernode/engine/jobs/ProcessIdentity"
import { Leases } from "@hypernode/engine/keys/Leases"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { fixtures, missingPython, train, World } from "./world.ts"

const lacks = noDockerd() ?? missingPython
if (lacks !== undefined) console.warn(`skipped: training in a container (${lacks})`)

const options = { epochs: 1, maxSteps: 24, lr: 2e-3, batchSize: 4, sequenceLength: 128, checkpointEvery: 4, keepCheckpoints: 2, lora: { dropout: 0.1 }, sandbox: "required" } as const

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

  it("trains to its end, two ranks with their own segments over the lease socket, signed telemetry; the result says what confined it", async () => {
    const context = await world.training(options, input)
    const handle = await world.run(train.start(context))
    await until("the container", () => survivorsOf(handle.id).length > 1)
    expect(await containers({ [LABEL.run]: "run-1", [LABEL.step]: "train", [LABEL.job]: handle.id })).toMatchObject([{ state: "running" }])
    const trained = await world.run(train.collect(context, handle))
    expect(trained).toMatchObject({ steps: 24, worldSize: 2, sandbox: "container", trustTier: "sandboxed-container" })
    expect(trained.lastLoss).toBeLessThan(trained.firstLoss)
    expect(await containers({ [LABEL.run]: "run-1" })).toEqual([])
    const { batches, releases, samples } = await world.run(
      Effect.gen(function*() {
        const store = yield* TelemetryStore
        return { samples: yield* store.samples("run-1"), batches: yield* store.batches("run-1"), releases: yield* (yield* Leases).releases(handle.id) }
      })
    )
    expect(batches.at(-1)?.digest).toBe(trained.telemetryHead)
    expect(samples.filter((sample) => sample.kind === "work").reduce((sum, sample) => sum + (sample.tokens ?? 0), 0)).toBe(trained.tokens)
    expect(new Set(releases.map((release) => release.slot))).toEqual(new Set([0, 1]))
  })

  it("leaves no row of the data on the engine's disk, nor below the home; the scan finds a planted one", async () => {
    const row = JSON.parse(readFileSync(join(fixtures, "data/tickets.jsonl"), "utf8").split("\n")[0]!).messages[1].content as string
    const disk = join(dirname(engine.address.path), "data")
    const scan = (): ReadonlyArray<string> =>
      [disk, world.home.root].flatMap((root) =>
        readdirSync(root, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name))
          .filter((path) => readFileSync(path).includes(row)))
    expect(scan()).toEqual([])
    writeFileSync(join(disk, "planted"), row)
    expect(scan()).toEqual([join(disk, "planted")])
    rmSync(join(disk, "planted"))
  })

  it("kill -9 of its supervisor: the container is gone when the loss is told, swept before the next attempt; and a cancelled one leaves nothing", async () => {
    const slow = { ...options, maxSteps: 100_000, epochs: 10_000 }
    const context = await world.training(slow, input, "killed")
    const handle = await world.run(train.start(context))
    await until("a checkpoint", () => existsSync(join(context.scratch, "checkpoints/step-00000008")))
    process.kill(parseIdentity(handle.supervisor)!.pid, "SIGKILL")
    expect(await world.run(Effect.flip(train.collect(context, handle)))).toMatchObject({ reason: "JobFailed", message: expect.stringContaining("supervisor") })
    expect(survivorsOf(handle.id)).toEqual([])
    const again = await world.training(slow, input, "killed", 2)
    const second = await world.run(train.start(again))
    // what the first one left on the engine was swept before the second began
    expect((await containers({ [LABEL.step]: "killed" })).filter(({ labels }) => labels[LABEL.job] === handle.id)).toEqual([])
    await until("the second one", () => survivorsOf(second.id).length > 1)
    await world.run(train.cancel(again, second))
    expect(survivorsOf(second.id)).toEqual([])
    expect(await containers({ [LABEL.step]: "killed" })).toEqual([])
    expect(await world.run(Effect.flip(train.collect(again, second)))).toMatchObject({ reason: "Cancelled" })
  })
})
