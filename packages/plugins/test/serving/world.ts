/** For the plugins that serve. Everything real: database, keyring, jobs, artifacts, gateway. What a test starts is ended by name when it closes. */
import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlClient } from "effect/sql/SqlClient"
import { TREE_MEDIA_TYPE } from "@hypernode/engine/artifact/Artifact"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import type { Digest } from "@hypernode/engine/artifact/Digest"
import * as FileArtifactStore from "@hypernode/engine/artifact/FileArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { Sandbox } from "@hypernode/engine/capability/Sandbox"
import * as SecretsLayer from "@hypernode/engine/capability/Secrets.layer"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import * as GatewayEndpoints from "@hypernode/engine/endpoints/GatewayEndpoints"
import { GatewayProgram } from "@hypernode/engine/endpoints/GatewayProgram"
import { stopGateway } from "@hypernode/engine/endpoints/gatewayProcess"
import { type Home, homeAt } from "@hypernode/engine/Home"
import * as SupervisedJobs from "@hypernode/engine/jobs/SupervisedJobs"
import * as FileKeyring from "@hypernode/engine/keys/FileKeyring"
import { Leases } from "@hypernode/engine/keys/Leases"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import { Ledger } from "@hypernode/engine/rewards/Ledger"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { StageServices } from "@hypernode/engine/stage/StageServices"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import * as Database from "@hypernode/engine/store/Database"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"

const GATEWAY = fileURLToPath(new URL("../../../api/src/gateway/main.ts", import.meta.url))
export const FIXTURE = fileURLToPath(new URL("../../../../fixtures/models/tiny-llama", import.meta.url))

/** Why live tests cannot run here; with CI=true that is a failure. */
export const noPython = (): string | undefined => {
  const python = process.env["HYPER_PYTHON"]
  if (python !== undefined && existsSync(python)) return undefined
  if (process.env["CI"] === "true") throw new Error("HYPER_PYTHON must name a Python with torch and transformers")
  return "HYPER_PYTHON names no Python with torch and transformers"
}

export const openWorld = () => {
  const home: Home = homeAt(mkdtempSync(join(tmpdir(), "htf-")), join(tmpdir(), `hyper-test-cache-${process.getuid?.()}`))
  const lines: Array<string> = []
  const current = Layer.succeed(CurrentHome, home)
  const services = Layer.fresh(GatewayEndpoints.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(Layer.fresh(SupervisedJobs.layer), FileArtifactStore.layer, SecretsLayer.layer, containersLayer, Layer.mock(Leases)({}), Layer.mock(Ledger)({}), Layer.mock(Sandbox)({}), Layer.mock(TelemetryStore)({}))),
    Layer.provideMerge(Layer.mergeAll(Layer.fresh(FileKeyring.layer), Layer.fresh(Database.layer), Layer.succeed(Progress, { log: (line) => Effect.sync(() => void lines.push(line)), report: () => Effect.void }))),
    Layer.provideMerge(current),
    Layer.provide(Layer.succeed(GatewayProgram, { path: GATEWAY }))
  )
  const run = <A, E>(body: Effect.Effect<A, E, StageServices | CurrentHome | SqlClient>): Promise<A> => Effect.runPromise(Effect.provide(body, services))
  return {
    home,
    lines,
    run,
    close: async () => {
      await run(
        Effect.gen(function* () {
          yield* SqlClient.use((sql) => sql`UPDATE endpoints SET state = 'stopped'`)
          const jobs = yield* Jobs
          yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.cancel(handle))
          yield* stopGateway(home)
        })
      )
      await Effect.runPromise(Database.stopDatabase(home))
      rmSync(home.root, { recursive: true, force: true })
    }
  }
}
export type World = ReturnType<typeof openWorld>

/** What the stages before would hand over, from a model's directory (and an adapter's). */
export const packagedOf = Effect.fnUntraced(function* (directory: string, name: string, options: { readonly adapter?: string; readonly digest?: string } = {}) {
  const artifacts = yield* ArtifactStore
  const tree = yield* artifacts.putTree(directory)
  const exported: Exported = {
    base: { name: "tiny-llama", source: "file:tiny-llama", revision: tree.digest, tree, architecture: "LlamaForCausalLM", parameters: 1 },
    form: options.adapter === undefined ? "full" : "adapter",
    step: 1,
    loss: 1,
    tree: options.adapter === undefined ? tree : yield* artifacts.putTree(options.adapter)
  }
  const packaged: Packaged = { name, digest: `sha256:${(options.digest ?? "a").repeat(64)}` as Digest, manifest: { digest: tree.digest, mediaType: TREE_MEDIA_TYPE, size: 1 }, artifactType: "x", layout: "packages/x", size: 1, exported }
  return packaged
})

/** A job is known by its key, on the whole machine: another checkout's tests at the same time must not be taken for ours. */
const ours = randomBytes(4).toString("hex")

export const contextOf = <Options>(home: Home, packaged: Packaged, options: Options, run = 1, attempt = 1): StageContext<Options, { readonly packaged: Packaged }> => ({
  tenant: "default",
  runId: `run-${ours}-${run}`,
  stepId: "serve",
  attempt,
  jobKey: `run-${ours}-${run}/serve/${attempt}`,
  effectKey: `run-${ours}-${run}/serve`,
  pipeline: "support-bot",
  options,
  input: { packaged },
  projectDirectory: home.root,
  scratch: home.scratch,
  home: home.root,
  cache: home.cache
})

/** A LoRA adapter for `model`, with weights that matter. */
export const adapterFor = (model: string, directory: string): void => {
  const code = `import sys, torch
from transformers import AutoModelForCausalLM
from peft import LoraConfig, get_peft_model
torch.manual_seed(3)
m = get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False))
m.save_pretrained(sys.argv[2])`
  const done = spawnSync(process.env["HYPER_PYTHON"] as string, ["-c", code, model, directory], { encoding: "utf8" })
  if (done.status !== 0) throw new Error(done.stderr)
}

export const endpointsOf = Endpoints.use((endpoints) => endpoints.list("default"))
