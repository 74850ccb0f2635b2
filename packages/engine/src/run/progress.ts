/** A stage's Progress, written to its run's event log; reports are throttled to two a second, the last one is never lost at 100 %. */
import { Effect, Layer } from "effect"
import { Progress } from "../stage/Progress.ts"
import type { RunStore } from "./RunStore.ts"

const INTERVAL_MILLIS = 500

export const progressFor = (store: RunStore["Service"], runId: string, stepId: string): Layer.Layer<Progress> =>
  Layer.sync(Progress, () => {
    let last = 0
    return Progress.of({
      log: (message, level = "info") => store.append(runId, { _tag: "StepLog", step: stepId, level, message }).pipe(Effect.ignore),
      report: ({ done, total, unit, label }) =>
        Effect.suspend(() => {
          const now = Date.now()
          if (now - last < INTERVAL_MILLIS && done !== total) return Effect.void
          last = now
          return store
            .append(runId, { _tag: "StepProgress", step: stepId, label, done, unit, ...(total === undefined ? {} : { total }) })
            .pipe(Effect.ignore)
        })
    })
  })
