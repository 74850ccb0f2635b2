/** `ollama`: select a model that Ollama has or pulls (for serving only), and serve, which creates a fine-tuned model in it. */
import * as Effect from "effect/Effect"
import { definePlugin, type Estimate, type PlanNote, stage } from "@hypernode/engine/plugin/Plugin"
import { hostOf, SelectOptions, ServeOptions, withTag } from "./Options.ts"

/** An Ollama on this machine answers at once; a run that trains for hours should not find at its end that there is none. */
const PLAN_MILLIS = 1000

const looked = (options: { readonly host?: string }): Effect.Effect<{ readonly host?: string; readonly notes: ReadonlyArray<PlanNote> }> =>
  Effect.promise(async () => {
    const host = hostOf(options)
    if (typeof host !== "string") return { notes: [{ level: "refuse", message: host.message, ...(host.remedy === undefined ? {} : { remedy: host.remedy }) }] }
    const { call } = await import("../serving/Client.ts")
    const there = await call(host, "GET", "/api/version", undefined, PLAN_MILLIS).then(({ status }) => status === 200, () => false)
    return there ? { host, notes: [] } : { host, notes: [{ level: "refuse", message: `Ollama does not answer at ${host}`, remedy: "start it (`ollama serve`, or its service), or say where it is with `host` or OLLAMA_HOST" }] }
  })

const hostsOf = (host: string | undefined): ReadonlyArray<string> => (host === undefined ? [] : [new URL(host).host])

const estimateSelect = (options: SelectOptions): Effect.Effect<Estimate> =>
  Effect.map(looked(options), ({ host, notes }) => ({
    notes: [...notes, { level: "info", message: `${withTag(options.model)} is GGUF, for serving only: it cannot be trained further` }],
    sideEffects: options.pull ? [`Ollama pulls ${withTag(options.model)} where it has not got it`] : [],
    tools: ["ollama"],
    hosts: hostsOf(host)
  }))

const estimateServe = (options: ServeOptions): Effect.Effect<Estimate> =>
  Effect.map(looked(options), ({ host, notes }) => ({
    seconds: [5, 120] as const,
    notes: [...notes, { level: "warn", message: "Ollama itself answers anyone on this machine without a key; the endpoint's key holds at the gateway" }],
    sideEffects: ["creates a model in Ollama, where it is not one of Ollama's own", "starts an endpoint on this machine, which runs until it is stopped"],
    tools: ["ollama"],
    hosts: hostsOf(host)
  }))

export default definePlugin({
  id: "ollama",
  version: "0.1.0",
  stages: {
    select: stage({
      kind: "select",
      effect: "pure",
      options: SelectOptions,
      fingerprint: (options) => Effect.sync(() => ({ host: String(hostOf(options)) })),
      estimate: estimateSelect,
      takers: {
        model: {
          accepts: (kind, plugin) => kind === "serve" && plugin === "ollama",
          message: "a model of Ollama's is GGUF, quantized for serving: it can be served by ollama(), and neither trained nor sealed for",
          remedy: "to fine-tune, select the model that it was made from: hfHub({ model: \"<org>/<name>\" }) or local({ model }); what comes out is created in Ollama by p.serve(ollama(), { packaged })"
        }
      },
      alive: Effect.fnUntraced(function* (output, context) {
        const host = hostOf(context.options)
        if (output.model === undefined || typeof host !== "string") return false
        const { stillThere } = yield* Effect.promise(() => import("./select.ts"))
        return yield* stillThere(host, output.model)
      }),
      // what a plan does not need is loaded when a stage runs
      body: { run: (context) => Effect.flatMap(Effect.promise(() => import("./select.ts")), ({ select }) => select(context)) }
    }),
    serve: stage({
      kind: "serve",
      effect: "external",
      options: ServeOptions,
      estimate: estimateServe,
      alive: (output) => Effect.flatMap(Effect.promise(() => import("../serving/endpoint.ts")), ({ alive }) => alive(output)),
      body: { run: (context) => Effect.flatMap(Effect.promise(() => import("./serve.ts")), ({ serve }) => serve(context)) }
    })
  }
})
