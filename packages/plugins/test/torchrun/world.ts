/** A whole home for training: real artifacts, keys, leases, jobs, sandbox, and telemetry in a private PostgreSQL. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { execFileSync } from "node:child_process"
import { layer as artifactsLayer } from "@hypernode/engine/artifact/FileArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { type Home, homeAt } from "@hypernode/engine/Home"
import { layer as jobsLayer } from "@hypernode/engine/jobs/SupervisedJobs"
import { layer as keyringLayer } from "@hypernode/engine/keys/FileKeyring"
import { layer as leasesLayer } from "@hypernode/engine/keys/FileLeases"
import type { LongStage, ShortStage, StageContext, StageDefinition } from "@hypernode/engine/plugin/Plugin"
import { Ledger } from "@hypernode/engine/rewards/Ledger"
import { layer as sandboxLayer } from "@hypernode/engine/sandbox/SystemSandbox"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { StageServices } from "@hypernode/engine/stage/StageServices"
import type { Model, Shards } from "@hypernode/engine/stage/values"
import { layer as databaseLayer } from "@hypernode/engine/store/Database"
import { layer as telemetryLayer } from "@hypernode/engine/telemetry/SqlTelemetryStore"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import age from "../../src/age/plugin.ts"
import balanced from "../../src/balanced/plugin.ts"
import local from "../../src/local/plugin.ts"
import torchrun from "../../src/torchrun/plugin.ts"
import type { TorchrunOptions } from "../../src/torchrun/index.ts"
import { Options } from "../../src/torchrun/Options.ts"

export const fixtures = join(import.meta.dirname, "../../../../fixtures")

/** Undefined: training can be tested here. */
export const missingPython = ((): string | undefined => {
  const python = process.env["HYPER_PYTHON"]
  try {
    if (python === undefined || python === "") throw new Error("HYPER_PYTHON is not set")
    execFileSync(python, ["-c", "import torch, peft, pyrage"], { stdio: "ignore" })
    return undefined
  } catch {
    const reason = "HYPER_PYTHON must name a Python with the trainer's requirements"
    if (process.env["CI"] === "true") throw new Error(reason)
    console.warn(`skipped: ${reason}`)
    return reason
  }
})()

const of = (plugin: { readonly stages: object }, kind: string): StageDefinition => (plugin.stages as Record<string, StageDefinition>)[kind]!

export const train = of(torchrun, "train").body as LongStage<Options, Kinds["train"]["input"], Kinds["train"]["output"]>

export class World {
  readonly home: Home
  readonly logged: Array<string> = []
  readonly #runtime: ManagedRuntime.ManagedRuntime<StageServices, unknown>

  constructor(root: string) {
    this.home = homeAt(join(root, "h"), join(root, "c"))
    const home = Layer.succeed(CurrentHome, this.home)
    const services = Layer.mergeAll(
      jobsLayer,
      leasesLayer,
      sandboxLayer,
      containersLayer,
      telemetryLayer.pipe(Layer.provide(databaseLayer)),
      Layer.succeed(Progress, Progress.of({ log: (message) => Effect.sync(() => void this.logged.push(message)), report: () => Effect.void })),
      Layer.mock(Endpoints)({}),
      Layer.mock(Ledger)({}),
      Layer.mock(Secrets)({})
    ).pipe(Layer.provideMerge(Layer.mergeAll(artifactsLayer, keyringLayer)), Layer.provide(home))
    this.#runtime = ManagedRuntime.make(services as Layer.Layer<StageServices, unknown>)
  }

  static async make(): Promise<World> {
    return new World(await mkdtemp(join(tmpdir(), "ht-")))
  }

  run<A, E>(effect: Effect.Effect<A, E, StageServices>): Promise<A> {
    return this.#runtime.runPromise(effect)
  }

  async dispose(): Promise<void> {
    await this.run(Effect.flatMap(Jobs, (jobs) => Effect.flatMap(jobs.list, (all) => Effect.forEach(all, ({ handle }) => jobs.cancel(handle))))).catch((error) => console.error(error))
    await this.#runtime.dispose()
    await rm(join(this.home.root, ".."), { recursive: true, force: true })
  }

  context<O, I>(stepId: string, options: O, input: I, attempt = 1): StageContext<O, I> {
    return {
      tenant: "local", runId: "run-1", stepId, attempt, jobKey: `run-1/${stepId}/${attempt}`, effectKey: `run-1/${stepId}`, pipeline: "test", options, input,
      projectDirectory: fixtures, scratch: join(this.home.scratch, "run-1", stepId), home: this.home.root, cache: this.home.cache
    }
  }

  async #short(definition: StageDefinition, stepId: string, options: unknown, input: unknown): Promise<any> {
    const decoded = await Effect.runPromise(Schema.decodeUnknownEffect(definition.options)(options) as Effect.Effect<unknown>)
    return this.run((definition.body as ShortStage<any, any, any>).run(this.context(stepId, decoded, input)))
  }

  /** select, encrypt, shard */
  async shards(parts: number, dataset = "data/tickets.jsonl"): Promise<{ readonly model: Model; readonly shards: Shards }> {
    const { dataset: source, model } = await this.#short(of(local, "select"), "select", { model: "models/tiny-llama", dataset }, {})
    const sealed = await this.#short(of(age, "encrypt"), "encrypt", { segmentRows: 30 }, { dataset: source })
    return { model, shards: await this.#short(of(balanced, "shard"), "shard", { parts }, { sealed }) }
  }

  async training(options: TorchrunOptions, input: { readonly model: Model; readonly shards: Shards }, stepId = "train", attempt = 1) {
    const decoded = await Effect.runPromise(Schema.decodeUnknownEffect(Options)(options))
    const context = this.context(stepId, decoded, input, attempt)
    const { mkdir } = await import("node:fs/promises")
    await mkdir(context.scratch, { recursive: true, mode: 0o700 })
    return context
  }
}
