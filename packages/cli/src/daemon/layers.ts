/** The composition root: the only place where every layer meets. */
import { AuthStoreSql } from "@hypernode/api/auth/AuthStoreSql"
import { gatewayProgram } from "@hypernode/api/gateway/program"
import * as FileArtifactStore from "@hypernode/engine/artifact/FileArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import * as DockerContainers from "@hypernode/engine/containers/DockerContainers"
import * as SecretsLayer from "@hypernode/engine/capability/Secrets.layer"
import { embeddedDurable } from "@hypernode/engine/durable/EmbeddedDurable"
import * as GatewayEndpoints from "@hypernode/engine/endpoints/GatewayEndpoints"
import { GatewayProgram } from "@hypernode/engine/endpoints/GatewayProgram"
import type { Home } from "@hypernode/engine/Home"
import * as SupervisedJobs from "@hypernode/engine/jobs/SupervisedJobs"
import * as FileKeyring from "@hypernode/engine/keys/FileKeyring"
import * as FileLeases from "@hypernode/engine/keys/FileLeases"
import * as Registry from "@hypernode/engine/plugin/Registry"
import * as SqlPayoutOutbox from "@hypernode/engine/rewards/payouts/SqlPayoutOutbox"
import * as SqlLedger from "@hypernode/engine/rewards/SqlLedger"
import { JobWatcher } from "@hypernode/engine/run/JobWatcher"
import { Runner } from "@hypernode/engine/run/Runner"
import * as RunStoreLayer from "@hypernode/engine/run/RunStore.layer"
import { Stages } from "@hypernode/engine/run/Stages"
import * as SystemSandbox from "@hypernode/engine/sandbox/SystemSandbox"
import * as Database from "@hypernode/engine/store/Database"
import { Fence } from "@hypernode/engine/store/Fence"
import * as SqlTelemetryStore from "@hypernode/engine/telemetry/SqlTelemetryStore"
import { Layer } from "effect"
import * as SimpleGit from "@hypernode/engine/git/SimpleGit"
import { Reports } from "@hypernode/engine/watch/Reports"
import { Tellers } from "@hypernode/engine/watch/Tellers"
import { WatchedRuns } from "@hypernode/engine/watch/WatchedRuns"
import { Watcher } from "@hypernode/engine/watch/Watcher"
import { WatchStore } from "@hypernode/engine/watch/WatchStore"
import { EngineLive } from "./engine/EngineLive.ts"

const stages = Layer.succeed(Stages, Stages.of({ load: (step, projectDirectory) => Registry.load(step, projectDirectory) }))

const gateway = Layer.sync(GatewayProgram, () => {
  const port = process.env["HYPER_GATEWAY_PORT"]
  return GatewayProgram.of({ path: gatewayProgram, ...(port === undefined || port === "" ? {} : { port: Number(port) }) })
})

export const daemonLayer = (home: Home) => {
  const base = Layer.succeed(CurrentHome, home)
  const storage = Layer.mergeAll(FileArtifactStore.layer, FileKeyring.layer, SecretsLayer.layer, SystemSandbox.layer, DockerContainers.layer).pipe(Layer.provideMerge(base))
  const database = Fence.layer.pipe(Layer.provideMerge(Database.layer), Layer.provideMerge(base))
  const stores = Layer.mergeAll(RunStoreLayer.layer, SqlTelemetryStore.layer, AuthStoreSql).pipe(Layer.provideMerge(database))
  const capabilities = Layer.mergeAll(GatewayEndpoints.layer, SqlLedger.layer, SqlPayoutOutbox.layer, FileLeases.layer).pipe(
    Layer.provideMerge(SupervisedJobs.layer),
    Layer.provideMerge(Layer.mergeAll(storage, stores, gateway, stages))
  )
  const watching = Watcher.layer.pipe(Layer.provideMerge(WatchedRuns.layer), Layer.provideMerge(Reports.layer), Layer.provideMerge(Layer.mergeAll(WatchStore.layer, Tellers.layer, SimpleGit.layer)))
  return Layer.mergeAll(EngineLive, watching).pipe(
    Layer.provideMerge(Runner.layer("embedded", embeddedDurable)),
    Layer.provideMerge(JobWatcher.layer),
    Layer.provideMerge(capabilities)
  )
}
