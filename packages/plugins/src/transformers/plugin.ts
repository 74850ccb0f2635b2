/** `transformers` (serve): a supervised server of a packaged model, OpenAI-compatible behind the gateway. */
import * as Effect from "effect/Effect"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { definePlugin, type Estimate, stage } from "@hypernode/engine/plugin/Plugin"
import { jobFailure } from "./failures.ts"
import { Options } from "./Options.ts"

/** What a plan does not need is loaded when a stage runs. */
const stages = Effect.promise(() => import("./serve.ts"))

const estimate = (options: Options): Effect.Effect<Estimate> =>
  Effect.succeed({
    seconds: [5, 60],
    notes: options.port === undefined ? [] : [{ level: "warn", message: `the model server listens on port ${options.port} without a key: anyone on this machine can use it`, remedy: "leave `port` out: it then listens on a socket that only you can open" }],
    sideEffects: ["starts an endpoint on this machine, which runs until it is stopped"],
    tools: ["python >= 3.10"],
    hosts: []
  })

export default definePlugin({
  id: "transformers",
  version: "0.1.0",
  stages: {
    serve: stage({
      kind: "serve",
      effect: "external",
      options: Options,
      estimate,
      alive: Effect.fn("transformers.alive")(function* (output) {
        const endpoints = yield* Endpoints
        const record = yield* Effect.mapError(endpoints.get(output.id), jobFailure)
        if (record === undefined || record.state === "stopped" || record.endpoint.packaged !== output.packaged || record.endpoint.model !== output.model) return false
        // brings the gateway back where it was killed; on another port the stored URL is no longer true
        const url = yield* Effect.mapError(endpoints.gatewayUrl, jobFailure)
        if (output.url !== `${url}/v1`) return false
        const { completes } = yield* stages
        const answer = yield* Effect.result(completes(output, record.upstream))
        yield* Effect.mapError(endpoints.markHealth(output.id, answer._tag === "Success"), jobFailure)
        return answer._tag === "Success"
      }),
      body: { run: (context) => Effect.flatMap(stages, ({ serve }) => serve(context)) }
    })
  }
})
