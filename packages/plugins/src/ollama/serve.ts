/**
 * The serve stage. A fine-tuned model is created in Ollama under a tag of its own, so that what is served meanwhile stays as it is; when
 * the endpoint has proved itself, `<name>:latest` is moved to it and the tag before is deleted. A model that came from Ollama is served by
 * the name that it has there.
 */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type EndpointRecord, Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { programPath } from "@hypernode/engine/program"
import { jobFailure } from "@hypernode/engine/stage/jobFailure"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { completeDirectly } from "../serving/Client.ts"
import { bringUp, givenTo, type ServeContext, standing } from "../serving/endpoint.ts"
import { layOut } from "../serving/ServerFiles.ts"
import { OllamaClient } from "./Client.ts"
import { exportModel } from "./exportModel.ts"
import { ollamaFailure } from "./failures.ts"
import { hostOf, nameFor, type ServeOptions } from "./Options.ts"
import { ollamaName, stillThere } from "./select.ts"

/** What Ollama writes for a model without a template. */
const NO_TEMPLATE = "{{ .Prompt }}"
const OWN_TAG = /:[0-9a-f]{12}$/
const KEEP = "10m"

/** The same package with the same options is the same model. */
const tagOf = (digest: string, { context, quantize, template }: ServeOptions): string =>
  createHash("sha256").update(JSON.stringify([digest, template ?? null, quantize ?? null, context ?? null])).digest("hex").slice(0, 12)

/** `<name>:latest` is moved only where it is one of ours: a model of the user's is never overwritten. */
const refuseForeign = Effect.fnUntraced(function* (models: ReadonlyArray<{ readonly name: string; readonly digest: string }>, name: string) {
  const latest = models.find((model) => model.name === `${name}:latest`)
  const ours = models.some((model) => model.name.startsWith(`${name}:`) && OWN_TAG.test(model.name) && model.digest === latest?.digest)
  if (latest === undefined || ours) return
  return yield* new StageError({ reason: "InvalidInput", message: `Ollama already has a model ${name} that this pipeline did not make, and it would be replaced.`, remedy: `Give the endpoint another name: ollama({ name: "..." }); or remove that one: ollama rm ${name}.` })
})

/** What this endpoint served before is deleted, where it was made for it and no other endpoint is served from it. */
const forget = Effect.fnUntraced(function* (client: OllamaClient, before: EndpointRecord, model: string) {
  const old = before.upstreamModel
  if (before.upstream !== client.host || old === model || !OWN_TAG.test(old)) return
  const records = yield* Effect.mapError(Endpoints.use((endpoints) => endpoints.list(before.tenant)), jobFailure)
  if (records.some((record) => record.endpoint.id !== before.endpoint.id && record.state !== "stopped" && record.upstream === client.host && record.upstreamModel === old)) return
  // one that cannot be deleted takes some disk; the endpoint is up
  yield* Effect.promise(() => client.delete(old).catch(() => undefined))
})

export const serve = Effect.fn("ollama.serve")(function* (context: ServeContext<ServeOptions>) {
  const jobs = yield* Jobs
  const progress = yield* Progress
  const { input, options } = context
  const host = hostOf(options)
  if (typeof host !== "string") return yield* host
  const client = new OllamaClient(host)
  const packaged = givenTo(context)
  const selected = input.model === undefined ? undefined : ollamaName(input.model)
  const name = selected === undefined ? nameFor(options, packaged.name) : (options.name ?? packaged.name)
  const model = selected ?? `${name}:${tagOf(packaged.digest, options)}`
  const attempt = <A>(doing: "look" | "create" | "load", call: () => Promise<A>) => Effect.tryPromise({ try: call, catch: (cause) => ollamaFailure({ host, model, doing }, cause) })

  // also after an attempt that was cut off here: copying twice is copying once
  const publish = Effect.gen(function* () {
    if (selected !== undefined) return
    yield* attempt("create", () => client.copy(model, `${name}:latest`))
    yield* progress.log(`In Ollama it is ${name}: ollama run ${name}`)
  })
  const { before, stands } = yield* standing(context)
  if (stands) return yield* Effect.as(publish, before.endpoint)

  const models = yield* attempt("look", () => client.list())
  if (selected === undefined) yield* refuseForeign(models, name)
  else if (input.model !== undefined && !(yield* stillThere(host, input.model))) {
    return yield* new StageError({ reason: "Missing", message: `Ollama at ${host} has no longer the ${model} that was selected (${input.model.revision.slice(0, 19)}).`, remedy: "Run the pipeline again: it selects what is there now." })
  }
  const creates = selected === undefined && !models.some((known) => known.name === model)
  const directory = yield* Effect.mapError(jobs.directory(context.jobKey), jobFailure)
  const bring = Effect.gen(function* () {
    const chat = creates
      ? yield* exportModel(client, model, yield* layOut(packaged.exported, directory), options, context.scratch)
      : (yield* attempt("look", () => client.show(model))).template.trim() !== NO_TEMPLATE
    const ready = Effect.gen(function* () {
      yield* attempt("load", () => client.load(model, KEEP))
      yield* attempt("load", () => completeDirectly(host, model, chat))
      const device = yield* attempt("look", () => client.device(model))
      return { chat, device: `Ollama${device === undefined ? "" : `, ${device}`}` }
    })
    const handle = yield* jobs
      .start(context.jobKey, {
        purpose: "serve",
        runId: context.runId,
        stepId: context.stepId,
        command: [process.execPath, programPath(import.meta.url, "./keeper"), host, model],
        env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
        restarts: 5,
        graceMillis: 15_000
      })
      .pipe(Effect.mapError(jobFailure))
    return (yield* bringUp(context, { name, upstreamModel: model, server: { handle, upstream: host }, before }, ready)).endpoint
  })
  // nothing of ours stays in Ollama where the endpoint does not come up
  const endpoint = yield* Effect.onExit(bring, (exit) => (Exit.isSuccess(exit) || !creates ? Effect.void : Effect.promise(() => client.delete(model).catch(() => undefined))))
  yield* publish
  if (before !== undefined) yield* forget(client, before, model)
  return endpoint
})
