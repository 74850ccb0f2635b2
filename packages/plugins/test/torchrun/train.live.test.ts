/** Real trainings of the tiny model: leased segments, bubblewrap, supervisor, telemetry; undisturbed, killed, cancelled, failed. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { survivorsOf } from "@hypernode/engine/jobs/endSurvivors"
import { parseIdentity } from "@hypernode/engine/jobs/ProcessIdentity"
import { Leases } from "@hypernode/engine/keys/Leases"
import { availableSandbox } from "@hypernode/engine/sandbox/available"
import type { Trained } from "@hypernode/engine/stage/values"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { fixtures, missingPython, train, World } from "./world.ts"

const available = await availableSandbox()
if (available.kind === "none" && process.env["CI"] === "true") throw new Error(`No sandbox can be made here: ${available.reasons.join("; ")}`)
const sandbox = available.kind === "none" ? ("none" as const) : ("required" as const)
if (sandbox === "none") console.warn("bubblewrap is missing here: these trainings run without a sandbox")

const options = { epochs: 1, maxSteps: 24, lr: 2e-3, batchSize: 4, sequenceLength: 128, checkpointEvery: 4, keepCheckpoints: 2, lora: { dropout: 0.1 }, evalFraction: 0.1, sandbox } as const

// each imports torch in three processes at least: a minute on a busy machine
vi.setConfig({ testTimeout: 900_000 })

let world: World
let input: Awaited<ReturnType<World["shards"]>>
let undisturbed: Trained

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (const end = Date.now() + 120_000; !holds();) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
/** Digest of the final weights alone: the tree also holds files that name nothing of the run. */
const weights = async (trained: Trained): Promise<string> => {
  const tree = await world.run(Effect.flatMap(ArtifactStore, (store) => store.tree(trained.checkpoints.at(-1)!.tree)))
  return tree.files.filter((file) => file.path.endsWith(".safetensors")).map((file) => `${file.path} ${file.digest}`).join("\n")
}

describe.skipIf(missingPython !== undefined)("torchrun", () => {
  beforeAll(async () => {
    world = await World.make()
    input = await world.shards(2)
  })
  afterAll(() => world?.dispose())

  it("trains to its end: checkpoints, losses, telemetry, releases", async () => {
    const context = await world.training(options, input)
    const handle = await world.run(train.start(context))
    expect(await world.run(train.start(context))).toEqual(handle)
    undisturbed = await world.run(train.collect(context, handle))
    expect(undisturbed).toMatchObject({ method: "lora", steps: 24, worldSize: 2, deviceClass: expect.stringContaining("cpu"), sandbox: available.kind, jobId: handle.id })
    expect(undisturbed.trustTier).toBe(available.kind === "none" ? "unsandboxed" : "sandboxed-bubblewrap")
    expect(undisturbed.lastLoss).toBeLessThan(undisturbed.firstLoss)
    expect(undisturbed.checkpoints.map((checkpoint) => checkpoint.step)).toEqual([20, 24])
    const { batches, releases, samples } = await world.run(
      Effect.gen(function*() {
        const store = yield* TelemetryStore
        return { samples: yield* store.samples("run-1"), batches: yield* store.batches("run-1"), releases: yield* (yield* Leases).releases(handle.id) }
      })
    )
    expect(batches.at(-1)?.digest).toBe(undisturbed.telemetryHead)
    expect(samples.filter((sample) => sample.kind === "work").reduce((sum, sample) => sum + (sample.tokens ?? 0), 0)).toBe(undisturbed.tokens)
    // each slot got its own segments and no others
    for (const release of releases) expect(release.segments).toEqual(input.shards.slots[release.slot]!.segments)
    expect(new Set(releases.map((release) => release.slot))).toEqual(new Set([0, 1]))
  })

  it("writes no row of the data below the home, the scan finds a planted one", async () => {
    const row = JSON.parse(readFileSync(join(fixtures, "data/tickets.jsonl"), "utf8").split("\n")[0]!).messages[1].content as string
    const scan = (): ReadonlyArray<string> =>
      readdirSync(world.home.root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .filter((path) => readFileSync(path).includes(row))
    expect(scan()).toEqual([])
    const { rmSync, writeFileSync } = await import("node:fs")
    writeFileSync(join(world.home.jobs, "planted"), row)
    expect(scan()).toEqual([join(world.home.jobs, "planted")])
    rmSync(join(world.home.jobs, "planted"))
  })

  it("a supervisor's kill -9 loses the attempt; the next goes on from its checkpoints to the same bits", async () => {
    const context = await world.training(options, input, "killed")
    const handle = await world.run(train.start(context))
    await until("a checkpoint", () => existsSync(join(context.scratch, "checkpoints/step-00000008")))
    process.kill(parseIdentity(handle.supervisor)!.pid, "SIGKILL")
    const failure = await world.run(Effect.flip(train.collect(context, handle)))
    expect(failure).toMatchObject({ reason: "JobFailed", message: expect.stringContaining("supervisor") })
    expect(survivorsOf(handle.directory)).toEqual([])
    const again = await world.training(options, input, "killed", 2)
    const second = await world.run(train.start(again))
    expect(second.id).not.toBe(handle.id)
    const trained = await world.run(train.collect(again, second))
    expect(readFileSync(join(second.directory, "output.log"), "utf8")).toMatch(/resumed at step (8|12|16|20)/)
    expect(await weights(trained)).toBe(await weights(undisturbed))
    expect(trained.lastLoss).toBe(undisturbed.lastLoss)
    // planted: another seed ends with other bits, and the same check sees it
    const other = await world.training({ ...options, seed: 1 }, input, "other-seed")
    expect(await weights(await world.run(train.collect(other, await world.run(train.start(other)))))).not.toBe(await weights(undisturbed))
  })

  it("kill -9 of one rank inside its sandbox: all ranks go on from the last checkpoint, with fresh keys, to the same bits", async () => {
    const context = await world.training(options, input, "rank")
    const handle = await world.run(train.start(context))
    await until("a checkpoint", () => existsSync(join(context.scratch, "checkpoints/step-00000008")))
    const rank = survivorsOf(handle.directory).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("hyper_trainer.train"))
    process.kill(rank!, "SIGKILL")
    const trained = await world.run(train.collect(context, handle))
    expect(readFileSync(join(handle.directory, "output.log"), "utf8")).toMatch(/signal 9; starting all ranks again[^]*resumed at step/)
    expect(await weights(trained)).toBe(await weights(undisturbed))
    const releases = await world.run(Effect.flatMap(Leases, (leases) => leases.releases(handle.id)))
    expect(new Set(releases.map((release) => release.recipient)).size).toBe(4)
  })

  it("a new attempt ends an earlier one that still runs", async () => {
    const slow = { ...options, maxSteps: 100_000, epochs: 10_000 }
    const first = await world.run(train.start(await world.training(slow, input, "twice")))
    await until("training", () => /training from step/.test(readFileSync(join(first.directory, "output.log"), "utf8")))
    const second = await world.training({ ...options, maxSteps: 4 }, input, "twice", 2)
    const handle = await world.run(train.start({ ...second, scratch: `${second.scratch}-2` }))
    expect(survivorsOf(first.directory)).toEqual([])
    expect(await world.run(Effect.flatMap(Jobs, (jobs) => jobs.state(first)))).toMatchObject({ _tag: "Ended", cancelled: true })
    await world.run(train.cancel(second, handle))
    expect(survivorsOf(handle.directory)).toEqual([])
  })

  it("cancelled: nothing runs on, no key is released any more, the work is on record", async () => {
    const context = await world.training({ ...options, maxSteps: 100_000, epochs: 10_000 }, input, "cancelled")
    const handle = await world.run(train.start(context))
    await until("work", () => existsSync(join(handle.directory, "batches.jsonl")) && readFileSync(join(handle.directory, "batches.jsonl"), "utf8").includes(`"work"`))
    expect(survivorsOf(handle.directory).length).toBeGreaterThan(0)
    await world.run(train.cancel(context, handle))
    await world.run(train.cancel(context, handle))
    expect(survivorsOf(handle.directory)).toEqual([])
    expect(await world.run(Effect.flip(train.collect(context, handle)))).toMatchObject({ reason: "Cancelled" })
    const samples = await world.run(Effect.flatMap(TelemetryStore, (store) => store.samples("run-1", { stepId: "cancelled" })))
    expect(samples.some((sample) => sample.kind === "work")).toBe(true)
  })

  it("a learning rate that diverges is the user's to change", async () => {
    const { lora: _, ...full } = options
    const diverging = await world.training({ ...full, method: "full", lr: 10, gradClip: 0, maxSteps: 200, epochs: 50 }, input, "diverging")
    const failure = await world.run(Effect.flip(Effect.flatMap(train.start(diverging), (handle) => train.collect(diverging, handle))))
    expect(failure).toMatchObject({ reason: "InvalidInput", message: expect.stringMatching(/not a finite number/) })
  })
})
