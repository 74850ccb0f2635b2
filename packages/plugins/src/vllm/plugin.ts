/** `vllm` (serve): a supervised vLLM server of a packaged model behind the gateway. */
import * as Effect from "effect/Effect"
import { definePlugin, type Estimate, type PlanNote, stage } from "@hypernode/engine/plugin/Plugin"
import { usableVllm } from "./installed.ts"
import { Options } from "./Options.ts"

const estimate = (options: Options): Effect.Effect<Estimate> =>
  Effect.sync(() => {
    const program = usableVllm(options)
    const notes: Array<PlanNote> = []
    if (typeof program !== "string") notes.push({ level: "refuse", message: program.message, ...(program.remedy === undefined ? {} : { remedy: program.remedy }) })
    if (options.port !== undefined) notes.push({ level: "warn", message: `vLLM listens on port ${options.port} without a key: anyone on this machine can use it`, remedy: "leave `port` out: it then listens on a socket that only you can open" })
    return {
      seconds: [30, 300] as const,
      notes,
      sideEffects: ["starts an endpoint on this machine, which runs until it is stopped"],
      tools: ["vllm >= 0.11"],
      hosts: []
    }
  })

export default definePlugin({
  id: "vllm",
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
