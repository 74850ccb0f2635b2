/** Options of `ollama`, checked at plan time, and where its server is. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { StageError } from "@hypernode/engine/stage/StageError"

/** [host/][namespace/]name[:tag], as Ollama's own types/model/name.go has it. */
const MODEL = /^(?:\w[\w.-]*(?::\d+)?\/)?(?:[\w-][\w.-]*\/)?[\w][\w.-]{0,79}(?::[\w][\w.-]{0,79})?$/

const host = Schema.optionalKey(Schema.NonEmptyString)

export const SelectOptions = Schema.Struct({
  model: Schema.String.check(Schema.isPattern(MODEL, { message: "a model as `ollama pull` takes it, such as llama3.2:1b" })),
  pull: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  host
})
export type SelectOptions = typeof SelectOptions.Type

export const ServeOptions = Schema.Struct({
  name: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^(?:[a-z0-9][a-z0-9_-]{0,39}\/)?[a-z0-9][a-z0-9._-]{0,63}$/, { message: "lower-case letters, digits and . _ -, with one / at most; no tag: it is made from what is served" }))),
  host,
  template: Schema.optionalKey(Schema.NonEmptyString),
  quantize: Schema.optionalKey(Schema.Literals(["q8_0", "q4_K_M", "q4_K_S"])),
  context: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 16, maximum: 16_777_216 })))
})
export type ServeOptions = typeof ServeOptions.Type

/** A package's name as Ollama takes names. */
export const nameFor = (options: Pick<ServeOptions, "name">, packaged: string): string =>
  options.name ?? (packaged.toLowerCase().replaceAll(/[^a-z0-9._-]+/g, "-").replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, "").slice(0, 64) || "model")

/** With its tag, as Ollama lists it. */
export const withTag = (model: string): string => (/:[^/]*$/.test(model) ? model : `${model}:latest`)

const LOOPBACK = /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/

/**
 * `http://<host>:<port>` from the option, OLLAMA_HOST (which Ollama also listens by, so `0.0.0.0` is this machine) or the default. Of this
 * machine only: Ollama has no key and no TLS of its own, and what callers ask is private.
 */
export const hostOf = (options: { readonly host?: string }, environment: Readonly<Record<string, string | undefined>> = process.env): string | StageError => {
  const given = options.host ?? (environment["OLLAMA_HOST"] || undefined)
  const where = options.host === undefined ? "OLLAMA_HOST" : "host"
  if (given === undefined) return "http://127.0.0.1:11434"
  const text = given.includes("://") ? given : `http://${given.startsWith(":") ? "127.0.0.1" : ""}${given}`
  const remedy = "Write http://127.0.0.1:11434, with the port that Ollama listens on."
  if (!URL.canParse(text)) return new StageError({ reason: "InvalidInput", message: `${where} is ${JSON.stringify(given)}, which is no address of an Ollama.`, remedy })
  const url = new URL(text)
  const hostname = url.hostname === "0.0.0.0" || url.hostname === "[::]" ? "127.0.0.1" : url.hostname
  if (url.protocol !== "http:" || !LOOPBACK.test(hostname) || url.username !== "") {
    return new StageError({ reason: "Denied", message: `${where} is not on this machine. Ollama has no key and no TLS of its own: what callers ask would cross the network for everybody to read.`, remedy })
  }
  const port = url.port === "" ? (given.includes("://") ? "80" : "11434") : url.port
  return `http://${hostname}:${port}`
}
