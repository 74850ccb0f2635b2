/** `torchrun` (train): supervised, confined fine-tuning on this machine, one process a slot (the trainer is trainer/python/hyper_trainer). */
import * as Effect from "effect/Effect"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { Leases } from "@hypernode/engine/keys/Leases"
import { definePlugin, stage } from "@hypernode/engine/plugin/Plugin"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { StageError } from "@hypernode/engine/stage/StageError"
import { TelemetryStore } from "@hypernode/engine/telemetry/TelemetryStore"
import { Options } from "./Options.ts"
import { estimate, fingerprint } from "./plan.ts"

export default definePlugin({
  id: "torchrun",
  version: "0.1.0",
  stages: {
    train: stage({
      kind: "train",
      effect: "pure",
      options: Options,
      fingerprint,
      estimate,
      body: {
        // what a plan does not need is loaded when a stage runs
        start: (context) => Effect.flatMap(Effect.promise(() => import("./start.ts")), ({ start }) => start(context)),
        collect: (context, handle) => Effect.flatMap(Effect.promise(() => import("./collect.ts")), ({ collect }) => collect(context, handle)),
        cancel: Effect.fn("torchrun.cancel")(function*(context, handle) {
          const jobs = yield* Jobs
          const leases = yield* Leases
          const telemetry = yield* TelemetryStore
          // the keys first: nothing more is released to a job that is being ended
          yield* Effect.mapError(leases.revoke(handle.id), (error) => new StageError({ reason: "Unavailable", message: error.message }))
          yield* Effect.mapError(jobs.cancel(handle), jobFailure)
          yield* Effect.mapError(telemetry.ingest(context.runId, context.stepId, handle.directory), (error) => new StageError({ reason: "Corrupt", message: error.message }))
        })
      }
    })
  }
})
