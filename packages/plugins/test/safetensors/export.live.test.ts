/** Verification and merging for real: the tiny model of fixtures/, a random adapter, supervised Python. */
import { execFile } from "node:child_process"
import { appendFile, chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { layer as artifactLayer } from "@hypernode/engine/artifact/FileArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { homeAt } from "@hypernode/engine/Home"
import { parseIdentity } from "@hypernode/engine/jobs/ProcessIdentity"
import { layer as jobsLayer } from "@hypernode/engine/jobs/SupervisedJobs"
import { layer as keyringLayer } from "@hypernode/engine/keys/FileKeyring"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Exported, Trained } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import plugin, { type SafetensorsOptions } from "../../src/safetensors/plugin.ts"

const python = process.env["HYPER_PYTHON"]
if (python === undefined && process.env["CI"] === "true") throw new Error("HYPER_PYTHON is not set: the merge cannot be tested")
if (python === undefined) console.warn("skipped: HYPER_PYTHON is not set")

const fixture = new URL("../../../../fixtures/models/tiny-llama", import.meta.url).pathname
const script = new URL("./makeAdapter.py", import.meta.url).pathname
const definition = plugin.stages.checkpoint!
const body = definition.body as ShortStage<SafetensorsOptions, Kinds["checkpoint"]["input"], Exported>

class Place {
  readonly runtime
  readonly logged: Array<string> = []
  readonly root: string
  constructor(root: string) {
    this.root = root
    const home = Layer.succeed(CurrentHome, homeAt(root, join(root, "cache")))
    const services = Layer.mergeAll(
      artifactLayer,
      Layer.provideMerge(jobsLayer, keyringLayer),
      Layer.succeed(Progress, Progress.of({ log: (message) => Effect.sync(() => void this.logged.push(message)), report: () => Effect.void }))
    )
    this.runtime = ManagedRuntime.make(Layer.provide(services, home))
  }
  run<A, E>(effect: Effect.Effect<A, E, any>): Promise<A> {
    return this.runtime.runPromise(effect)
  }
  tree(directory: string) {
    return this.run(ArtifactStore.use((store) => store.putTree(directory)))
  }
  async trained(checkpoint: string, method: Trained["method"] = "lora", base = fixture): Promise<Trained> {
    const tree = await this.tree(base)
    return {
      method, base: { name: "tiny", source: "file:tiny-llama", revision: "1", tree, architecture: "llama", parameters: 1 },
      checkpoints: [{ step: 3, epoch: 1, loss: 1, tree: await this.tree(checkpoint) }]
    } as unknown as Trained
  }
  async export(trained: Trained, options: SafetensorsOptions = {}, runId = "run-1"): Promise<Exported> {
    const scratch = join(this.root, "scratch", runId)
    await mkdir(scratch, { recursive: true })
    return this.run(body.run({
      tenant: "local", runId, stepId: "checkpoint", attempt: 1, jobKey: `${runId}/checkpoint/1`, effectKey: `${runId}/checkpoint`, pipeline: "p", options, input: { trained },
      projectDirectory: this.root, scratch, home: this.root, cache: join(this.root, "cache")
    }))
  }
}

describe("safetensors", () => {
  let root: string
  let adapter: string
  let first: Place
  let second: Place
  let merged: Exported["tree"]
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "se-"))
    adapter = join(root, "adapter")
    await mkdir(join(root, "a"))
    await mkdir(join(root, "b"))
    first = new Place(join(root, "a"))
    second = new Place(join(root, "b"))
    if (python !== undefined) await promisify(execFile)(python, [script, fixture, adapter, "1"])
    await rm(join(adapter, "README.md"), { force: true })
  })
  afterAll(async () => {
    await first.runtime.dispose()
    await second.runtime.dispose()
    await rm(root, { recursive: true, force: true })
  })

  it("hands a full model on as it is, verified", async () => {
    const trained = await first.trained(fixture, "full")
    expect(await first.export(trained)).toMatchObject({ form: "full", step: 3, loss: 1, tree: trained.checkpoints[0]!.tree })
  })

  describe.skipIf(python === undefined)("with an adapter", () => {
    it("merges it: the sum is right, and the same bytes come out in another home", async () => {
      const exported = await first.export(await first.trained(adapter))
      merged = exported.tree
      expect(exported).toMatchObject({ form: "merged", base: { name: "tiny" } })
      const again = await second.export(await second.trained(adapter))
      expect(again.tree).toEqual(exported.tree)
      const directory = join(root, "merged")
      await first.run(ArtifactStore.use((store) => store.materialize(exported.tree, directory)))
      const { stdout } = await promisify(execFile)(python!, [script, "check", fixture, adapter, directory])
      const { num_hidden_layers: layers } = JSON.parse(await readFile(join(fixture, "config.json"), "utf8")) as { num_hidden_layers: number }
      expect(JSON.parse(stdout)).toEqual({ changed: 2 * layers, tensors: true, dtype: true })
      expect(await readFile(join(directory, "tokenizer.json"))).toEqual(await readFile(join(fixture, "tokenizer.json")))
      expect(await readFile(join(directory, "chat_template.jinja"))).toEqual(await readFile(join(fixture, "chat_template.jinja")))
    })
    it("makes it anew when the step runs again after the result was taken", async () => {
      const trained = await first.trained(adapter)
      expect((await first.export(trained)).tree).toEqual(merged)
    })
    it("leaves it an adapter when told to", async () => {
      const trained = await first.trained(adapter)
      expect(await first.export(trained, { merge: false })).toMatchObject({ form: "adapter", tree: trained.checkpoints[0]!.tree })
    })
    it("names an adapter of another base", async () => {
      const wrong = join(root, "wrong")
      await cp(adapter, wrong, { recursive: true })
      const config = JSON.parse(await readFile(join(wrong, "adapter_config.json"), "utf8")) as Record<string, unknown>
      await writeFile(join(wrong, "adapter_config.json"), JSON.stringify({ ...config, target_modules: ["no_such_layer"] }))
      await expect(first.export(await first.trained(wrong), {}, "run-3")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("was it trained on this base?"), remedy: expect.stringContaining("merge: false") })
    })
    it("survives the death of the merge's supervisor", async () => {
      const trained = await first.trained(adapter)
      const running = first.export(trained, {}, "run-4")
      running.catch(() => undefined)
      let killed = false
      for (const until = Date.now() + 60_000; !killed && Date.now() < until;) {
        const jobs = await first.run(Effect.flatMap(Jobs, (service) => service.list))
        const job = jobs.find(({ runId }) => runId === "run-4")
        const running = job !== undefined && (await first.run(Effect.flatMap(Jobs, (service) => service.state(job.handle))))._tag === "Running"
        const pid = running ? parseIdentity(job.handle.supervisor)?.pid : undefined
        if (pid !== undefined) killed = process.kill(pid, "SIGKILL")
        else await new Promise((resolve) => setTimeout(resolve, 10))
      }
      expect(killed).toBe(true)
      expect((await running).tree).toEqual(merged)
      const merges = (await first.run(Effect.flatMap(Jobs, (service) => service.list))).filter(({ runId }) => runId === "run-4")
      expect(merges).toHaveLength(2)
    })
  })

  it("refuses what may be a pickle, a broken header, no weights, and a tampered file", async () => {
    const copy = async (name: string, change: (directory: string) => Promise<void>) => {
      const directory = join(root, name)
      await cp(fixture, directory, { recursive: true })
      await chmod(join(directory, "model.safetensors"), 0o644)
      await change(directory)
      return first.trained(directory, "full")
    }
    await expect(first.export(await copy("pickle", (d) => writeFile(join(d, "training_args.bin"), "x")))).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("training_args.bin may be a pickle") })
    await expect(first.export(await copy("tail", (d) => appendFile(join(d, "model.safetensors"), "x")))).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("model.safetensors: the tensors take") })
    await expect(first.export(await copy("none", (d) => rm(join(d, "model.safetensors"))))).rejects.toMatchObject({ message: expect.stringContaining("no .safetensors") })
    await expect(first.export({ ...(await first.trained(fixture, "full")), checkpoints: [] })).rejects.toMatchObject({ reason: "Missing" })
    const victim = await copy("tampered", (d) => writeFile(join(d, "note.json"), "{}"))
    const { files } = await first.run(ArtifactStore.use((store) => store.tree(victim.checkpoints[0]!.tree)))
    const blob = join(first.root, "artifacts", "blobs", "sha256", files.find(({ path }) => path === "note.json")!.digest.slice(7))
    await chmod(blob, 0o644)
    await appendFile(blob, " ")
    await expect(first.export(victim)).rejects.toMatchObject({ reason: "Corrupt" })
  })
})
