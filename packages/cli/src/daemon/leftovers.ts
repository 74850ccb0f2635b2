/** Ends what outlives a daemon: supervised jobs, the gateway, the private database. Works with no daemon and no database. */
import { Containers } from "@hypernode/engine/capability/Containers"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { homeLabel, LABEL } from "@hypernode/engine/containers/labels"
import { stopGateway } from "@hypernode/engine/endpoints/gatewayProcess"
import type { Home } from "@hypernode/engine/Home"
import * as SupervisedJobs from "@hypernode/engine/jobs/SupervisedJobs"
import * as FileKeyring from "@hypernode/engine/keys/FileKeyring"
import { stopDatabase } from "@hypernode/engine/store/Database"
import { Effect, Layer } from "effect"
import { existsSync } from "node:fs"

export const stopLeftovers = (home: Home): Promise<ReadonlyArray<string>> => {
  if (!existsSync(home.root)) return Promise.resolve([])
  const layer = SupervisedJobs.layer.pipe(Layer.provideMerge(Layer.mergeAll(FileKeyring.layer, containersLayer)), Layer.provideMerge(Layer.succeed(CurrentHome, home)))
  return Effect.runPromise(
    Effect.gen(function*() {
      const ended: Array<string> = []
      const jobs = yield* Jobs
      for (const job of yield* jobs.list) {
        const state = yield* jobs.state(job.handle)
        if (state._tag !== "Running" && state._tag !== "Starting") continue
        yield* jobs.cancel(job.handle)
        ended.push(`${job.purpose} job ${job.handle.id.slice(0, 8)}`)
      }
      // containers whose owner was killed: their engine outlives us all
      const containers = yield* Containers
      for (const name of yield* Effect.orElseSucceed(Effect.andThen(containers.engine, containers.sweep({ [LABEL.home]: homeLabel(home.root) })), () => [])) ended.push(`container ${name}`)
      if (yield* stopGateway(home)) ended.push("gateway")
      if (yield* stopDatabase(home)) ended.push("database")
      return ended
    }).pipe(Effect.provide(layer))
  )
}
