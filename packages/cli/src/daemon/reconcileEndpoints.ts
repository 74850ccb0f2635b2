/** At start-up: an endpoint whose server did not survive (a reboot, a kill) is no longer offered. */
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { Effect } from "effect"

export const reconcileEndpoints = Effect.fn("reconcileEndpoints")(function*(tenant: string) {
  const endpoints = yield* Endpoints
  const jobs = yield* Jobs
  for (const record of yield* endpoints.list(tenant)) {
    if (record.state === "stopped") continue
    const state = yield* jobs.state(record.job)
    if (state._tag === "Running" || state._tag === "Starting") continue
    yield* Effect.logWarning(`endpoint ${record.endpoint.model}: its server is gone; hyper run makes it anew`)
    yield* endpoints.stop(record.endpoint.id)
  }
}, Effect.catch((error) => Effect.logWarning(`endpoints: ${error.message}`)))
