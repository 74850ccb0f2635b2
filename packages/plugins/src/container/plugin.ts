/** `container` (serve): a package's image, or any, supervised and behind the gateway. */
import * as Effect from "effect/Effect"
import { engineNote } from "@hypernode/engine/containers/engineNote"
import { definePlugin, type Estimate, type PlanNote, stage } from "@hypernode/engine/plugin/Plugin"
import { unfit, WITHOUT } from "./engine.ts"
import { Options } from "./Options.ts"

const estimate = (options: Options): Effect.Effect<Estimate> =>
  Effect.map(Effect.promise(() => engineNote(WITHOUT, unfit(options))), (engine) => {
    const notes: Array<PlanNote> = [engine]
    if (options.port !== undefined) notes.push({ level: "warn", message: "the server in this image listens on a port of 127.0.0.1 without a key: anyone on this machine can use it" })
    return { seconds: [5, options.readySeconds] as const, notes, sideEffects: ["starts an endpoint in a container on this machine, which runs until it is stopped"], tools: ["docker"], hosts: [] }
  })

export default definePlugin({
  id: "container",
  version: "0.1.0",
  stages: {
    serve: stage({
      kind: "serve",
      effect: "external",
      options: Options,
      estimate,
      alive: (output) => Effect.flatMap(Effect.promise(() => import("../serving/endpoint.ts")), ({ alive }) => alive(output)),
      body: { run: (context) => Effect.flatMap(Effect.promise(() => import("./serve.ts")), ({ serve }) => serve(context)) }
    })
  }
})
