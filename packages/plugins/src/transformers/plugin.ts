/** `transformers` (serve): a supervised server of a packaged model, OpenAI-compatible behind the gateway. */
import * as Effect from "effect/Effect"
import { definePlugin, type Estimate, stage } from "@hypernode/engine/plugin/Plugin"
import { Options } from "./Options.ts"

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
      // what a plan does not need is loaded when a stage runs
      alive: (output) => Effect.flatMap(Effect.promise(() => import("../serving/endpoint.ts")), ({ alive }) => alive(output)),
      body: { run: (context) => Effect.flatMap(Effect.promise(() => import("./serve.ts")), ({ serve }) => serve(context)) }
    })
  }
})
