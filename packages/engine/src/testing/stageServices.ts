/**
 * Services to run one stage in a test: a real artifact store, keyring, leases and secrets in a temporary home, progress that is recorded. What a
 * stage should not touch (jobs, ledger, ...) fails the test when it is touched; pass layers for what it should.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as FileArtifactStore from "../artifact/FileArtifactStore.ts"
import { Containers } from "../capability/Containers.ts"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { Endpoints } from "../capability/Endpoints.ts"
import { Jobs } from "../capability/Jobs.ts"
import { Sandbox } from "../capability/Sandbox.ts"
import * as SecretsLayer from "../capability/Secrets.layer.ts"
import { type Home, homeAt } from "../Home.ts"
import * as FileKeyring from "../keys/FileKeyring.ts"
import * as FileLeases from "../keys/FileLeases.ts"
import type { StageContext } from "../plugin/Plugin.ts"
import { Ledger } from "../rewards/Ledger.ts"
import { Progress } from "../stage/Progress.ts"
import { TelemetryStore } from "../telemetry/TelemetryStore.ts"

/** Every line a stage logged, in order. */
export class ProgressLines extends Context.Service<ProgressLines, Array<string>>()("@hypernode/engine/testing/ProgressLines") {}

/** A home below the system's temporary directory, removed with the scope. */
export const temporaryHome = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "hyper-home-"))),
    (root) => Effect.promise(() => rm(root, { recursive: true, force: true }))
  ),
  (root): Home => homeAt(join(root, "home"), join(root, "cache"))
)

const progress = Layer.effect(
  Progress,
  Effect.map(ProgressLines, (lines) => Progress.of({ log: (message) => Effect.sync(() => void lines.push(message)), report: () => Effect.void }))
)

export const stageServices = Layer.mergeAll(
  FileArtifactStore.layer,
  FileKeyring.layer,
  SecretsLayer.layer,
  progress,
  Layer.mock(Containers)({}),
  Layer.mock(Endpoints)({}),
  Layer.mock(Jobs)({}),
  FileLeases.layer.pipe(Layer.provide(Layer.mergeAll(FileArtifactStore.layer, FileKeyring.layer))),
  Layer.mock(Ledger)({}),
  Layer.mock(Sandbox)({}),
  Layer.mock(TelemetryStore)({})
).pipe(
  Layer.provideMerge(Layer.mergeAll(Layer.effect(CurrentHome, temporaryHome), Layer.sync(ProgressLines, () => [])))
)

/** A context as the engine would make it for the first attempt. */
export const stageContext = <Options, Input>(
  home: Home,
  values: { readonly options: Options; readonly input: Input; readonly projectDirectory: string; readonly attempt?: number }
): StageContext<Options, Input> => ({
  tenant: "default",
  runId: "run-1",
  stepId: "step-1",
  attempt: values.attempt ?? 1,
  jobKey: `run-1/step-1/${values.attempt ?? 1}`,
  effectKey: "run-1/step-1",
  pipeline: "test",
  options: values.options,
  input: values.input,
  projectDirectory: values.projectDirectory,
  scratch: join(home.scratch, "step-1"),
  home: home.root,
  cache: home.cache
})
