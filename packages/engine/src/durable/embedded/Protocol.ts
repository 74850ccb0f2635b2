/**
 * The public protocol between an Inngest server and the SDK (docs/SDK_SPEC.md in inngest/inngest, and what SDK 4.24 answers), from the
 * server's side. Pure: it says what to send and what an answer means; Executor does it.
 *
 * - A call names the function and, to run one step alone, that step's hash. It carries every finished step.
 * - 206 answers with ops. 200 is the function's result. 500 may be tried again, 400 may not (`x-inngest-no-retry`).
 * - Where `ctx.fn_id` and `ctx.qi_id` are sent and no step is named, the SDK runs steps one after the other and posts each finished one
 *   to `/v1/checkpoint/<run>/async`; 409 there stops it.
 */
import { createHash } from "node:crypto"
import { functionId, startEvent } from "../function.ts"
import { type Match, parseMatch } from "../match.ts"

/** What nobody listens on: calls never leave the process, but the SDK wants a URL. */
export const origin = "http://hyper.invalid"

export type StepKind = "data" | "error"

/** A finished step as it is stored and sent again: `json` is the text of its data, or of its error. */
export interface FinishedStep {
  readonly hash: string
  readonly kind: StepKind
  readonly json: string
}

export type Op =
  | { readonly _tag: "Finished"; readonly step: FinishedStep }
  | { readonly _tag: "TryAgain"; readonly hash: string; readonly message: string }
  | { readonly _tag: "Planned"; readonly hash: string; readonly name: string }
  | { readonly _tag: "Sleep"; readonly hash: string; readonly until: number }
  | { readonly _tag: "Wait"; readonly hash: string; readonly event: string; readonly match: Match; readonly until: number }
  | { readonly _tag: "Completed" }

export type Reply =
  | { readonly _tag: "Ops"; readonly ops: ReadonlyArray<Op>; readonly retryAfterMillis: number | undefined }
  | { readonly _tag: "Failed"; readonly retry: boolean; readonly retryAfterMillis: number | undefined; readonly message: string }

/** What to run: on and on with checkpoints; only find what there is to do; one step. */
export type Mode = { readonly _tag: "Checkpoint" } | { readonly _tag: "Discover" } | { readonly _tag: "Step"; readonly hash: string }

export interface Call {
  readonly runId: string
  /** in the order in which they finished */
  readonly finished: ReadonlyArray<FinishedStep>
  /** from 0 */
  readonly attempt: number
  readonly attempts: number
  readonly mode: Mode
}

/** The hash under which a step's id goes over the wire; a repeated id is `id:1`, `id:2`. */
export const hashOf = (id: string): string => createHash("sha1").update(id).digest("hex")

export const encodeCall = ({ attempt, attempts, finished, mode, runId }: Call): { readonly url: string; readonly body: string } => {
  const event = { name: startEvent, data: { runId }, id: runId, ts: 0 }
  const context = {
    run_id: runId,
    attempt,
    max_attempts: attempts,
    disable_immediate_execution: mode._tag !== "Checkpoint",
    use_api: false,
    stack: { stack: finished.map(({ hash }) => hash), current: finished.length },
    ...(mode._tag === "Checkpoint" ? { fn_id: functionId, qi_id: runId } : {})
  }
  // the stored texts go in as they are: a long run is sent again without being parsed again
  const steps = finished.map(({ hash, json, kind }) => `"${hash}":{"type":"${kind}","${kind}":${json}}`).join(",")
  const text = JSON.stringify({ version: 2, event, events: [event], ctx: context })
  return {
    url: `${origin}/api/inngest?fnId=${functionId}&stepId=${mode._tag === "Step" ? mode.hash : "step"}`,
    body: `${text.slice(0, -1)},"steps":{${steps}}}`
  }
}

type Json = Readonly<Record<string, unknown>>

const record = (value: unknown): Json => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {})
const text = (value: unknown): string => (typeof value === "string" ? value : "")

/** Name and message go on; a stack would carry paths of this machine into the store. */
const errorJson = (error: unknown): string => {
  const { message, name } = record(error)
  return JSON.stringify({ name: text(name) === "" ? "Error" : name, message: text(message) === "" ? "no message" : message })
}

const durations: Readonly<Record<string, number>> = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 }

/** A date, or a duration such as `1h30m` from `now`. */
export const instantOf = (value: string, now: number): number => {
  const parts = [...value.matchAll(/(\d+)([wdhms])/g)]
  if (parts.length > 0 && parts.map(([part]) => part).join("") === value) return now + parts.reduce((sum, [, count, unit]) => sum + Number(count) * durations[unit!]!, 0)
  const at = Date.parse(value)
  if (Number.isNaN(at)) throw new Error(`the SDK asked to wait until "${value}", which is neither a date nor a duration`)
  return at
}

export const decodeOp = (raw: unknown, now: number): Op => {
  const op = record(raw)
  const hash = text(op["id"])
  const options = record(op["opts"])
  switch (op["op"]) {
    case "StepRun":
    case "Step":
      return { _tag: "Finished", step: { hash, kind: "data", json: JSON.stringify(op["data"] ?? null) } }
    case "StepFailed":
      return { _tag: "Finished", step: { hash, kind: "error", json: errorJson(op["error"]) } }
    case "StepError":
      return { _tag: "TryAgain", hash, message: text(record(op["error"])["message"]) }
    case "StepPlanned":
      return { _tag: "Planned", hash, name: text(op["displayName"] ?? op["name"]) }
    case "Sleep":
      return { _tag: "Sleep", hash, until: instantOf(text(op["name"]), now) }
    case "WaitForEvent":
      return { _tag: "Wait", hash, event: text(op["name"]), match: parseMatch(typeof options["if"] === "string" ? options["if"] : undefined), until: instantOf(text(options["timeout"]), now) }
    case "RunComplete":
      return { _tag: "Completed" }
    default:
      throw new Error(`the function uses ${JSON.stringify(op["op"])}, which the embedded executor does not run`)
  }
}

export interface Answer {
  readonly status: number
  readonly header: (name: string) => string | null
  readonly body: string
}

export const decodeReply = ({ body, header, status }: Answer, now: number): Reply => {
  const after = header("retry-after")
  const retryAfterMillis = after === null ? undefined : /^\d+$/.test(after) ? Number(after) * 1000 : Math.max(0, Date.parse(after) - now)
  const parsed: unknown = parse(body)
  if (status === 206) return { _tag: "Ops", ops: (Array.isArray(parsed) ? parsed : [parsed]).map((op) => decodeOp(op, now)), retryAfterMillis }
  if (status === 200) return { _tag: "Ops", ops: [{ _tag: "Completed" }], retryAfterMillis }
  const { error, message } = record(parsed)
  const words = text(message) === "" ? text(error) : text(message)
  return { _tag: "Failed", retry: header("x-inngest-no-retry") === "false", retryAfterMillis, message: words === "" ? `the function answered ${status}` : words }
}

const parse = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** What the SDK posts while it runs; undefined for any other request of it. */
export const decodeCheckpoint = (url: string, body: string, now: number): { readonly runId: string; readonly ops: ReadonlyArray<Op> } | undefined => {
  const found = /^[^?#]*\/v1\/checkpoint\/([^/?#]+)\/async(?:[?#]|$)/.exec(url)
  if (found === null) return undefined
  const { steps } = record(parse(body))
  return { runId: decodeURIComponent(found[1]!), ops: (Array.isArray(steps) ? steps : []).map((op) => decodeOp(op, now)) }
}
