/** What of a plan would be served from the step cache, and why the rest would not. Asks nothing but the cache; starts nothing. */
import * as Effect from "effect/Effect"
import type { Digest } from "../artifact/Digest.ts"
import { canonicalJson } from "../artifact/canonicalJson.ts"
import { cacheKey } from "./Keys.ts"
import type { Plan, PlanStep, WireRef } from "./Plan.ts"
import type { PlannedStep } from "./Planner.ts"

export interface Explained {
  readonly id: string
  readonly cached: boolean
  /** one phrase: "from run 3f2a", "option epochs changed from 2 to 3 since run 3f2a", "shard is not cached" */
  readonly why: string
  /** known as soon as all inputs are */
  readonly cacheKey?: Digest
  readonly fromRun?: string
}

export interface ExplainContext {
  readonly tenant: string
  readonly projectDirectory: string
  readonly lookup: (cacheKey: Digest) => Effect.Effect<{ readonly output: unknown; readonly runId: string } | undefined>
  /** whether everything that an output refers to is still stored; default: it is */
  readonly stands?: (output: unknown) => boolean
  /** the last run of this pipeline, to say what changed since */
  readonly previous?: { readonly runId: string; readonly plan: Plan }
}

const short = (runId: string): string => runId.slice(0, 8)

const show = (value: unknown): string => {
  const text = value === undefined ? "nothing" : JSON.stringify(value)
  return text.length > 40 ? `${text.slice(0, 37)}...` : text
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value)

/** `lora.rank changed from 8 to 16` */
const differences = (before: unknown, after: unknown, path: ReadonlyArray<string> = []): ReadonlyArray<string> => {
  if (canonicalJson(before ?? null) === canonicalJson(after ?? null)) return []
  if (isObject(before) && isObject(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) => differences(before[key], after[key], [...path, key]))
  }
  return [`${path.join(".")} changed from ${show(before)} to ${show(after)}`]
}

const list = (all: ReadonlyArray<string>): string => (all.length > 2 ? `${all.slice(0, 2).join(", ")} and ${all.length - 2} more` : all.join(" and "))

/** What of the step itself differs from the step of the same id in an earlier run. */
const changed = (step: PlanStep, previous: ExplainContext["previous"]): string | undefined => {
  const before = previous?.plan.steps.find((other) => other.id === step.id)
  if (previous === undefined || before === undefined) return undefined
  const since = `since run ${short(previous.runId)}`
  if (before.plugin.id !== step.plugin.id) return `plugin changed from ${before.plugin.id} to ${step.plugin.id} ${since}`
  if (before.plugin.sourceDigest !== step.plugin.sourceDigest) return `the source of plugin ${step.plugin.id} changed ${since}`
  const options = differences(before.options, step.options)
  if (options.length > 0) return `option ${list(options)} ${since}`
  if (canonicalJson(before.inputs) !== canonicalJson(step.inputs)) return `it is wired to other steps ${since}`
  return undefined
}

const follow = (output: unknown, wire: WireRef): unknown => wire.path.reduce<unknown>((inner, key) => (isObject(inner) ? inner[key] : undefined), output)

/** In the plan's order. Never fails: a step whose files cannot be read is "not cached", with the reason. */
export const explain = Effect.fn("explain")(function*(steps: ReadonlyArray<PlannedStep>, context: ExplainContext): Effect.fn.Return<ReadonlyArray<Explained>> {
  const outputs = new Map<string, unknown>()
  const explained: Array<Explained> = []
  for (const { definition, options, step } of steps) {
    const own = changed(step, context.previous)
    const missing = [...new Set(Object.values(step.inputs).map((wire) => wire.step))].filter((id) => !outputs.has(id))
    if (definition.effect === "external" && definition.alive === undefined) {
      explained.push({ id: step.id, cached: false, why: "runs every time: its effect lies outside" })
      continue
    }
    if (missing.length > 0) {
      explained.push({ id: step.id, cached: false, why: own ?? `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} not cached` })
      continue
    }
    const fingerprint = yield* Effect.suspend(() => definition.fingerprint?.(options, { projectDirectory: context.projectDirectory }) ?? Effect.succeed(null)).pipe(
      Effect.map((value) => ({ value, problem: undefined })),
      Effect.catch((error) => Effect.succeed({ value: undefined, problem: error.message })),
      Effect.catchDefect((defect) => Effect.succeed({ value: undefined, problem: defect instanceof Error ? defect.message : String(defect) }))
    )
    if (fingerprint.problem !== undefined) {
      explained.push({ id: step.id, cached: false, why: fingerprint.problem })
      continue
    }
    const inputs = Object.fromEntries(Object.entries(step.inputs).map(([name, wire]) => [name, follow(outputs.get(wire.step), wire)]))
    const key = cacheKey({ tenant: context.tenant, step, fingerprint: JSON.parse(canonicalJson(fingerprint.value)) as unknown, inputs })
    const hit = yield* context.lookup(key)
    if (hit === undefined) {
      const before = context.previous?.plan.steps.some((other) => other.id === step.id) === true
      explained.push({
        id: step.id,
        cached: false,
        cacheKey: key,
        why: own ?? (before ? `what it reads, or its environment, changed since run ${short(context.previous!.runId)}, or that run did not finish it` : "not run before")
      })
      continue
    }
    if (context.stands?.(hit.output) === false) {
      explained.push({ id: step.id, cached: false, cacheKey: key, why: `what run ${short(hit.runId)} stored for it is no longer in the artifact store` })
      continue
    }
    outputs.set(step.id, hit.output)
    explained.push({ id: step.id, cached: true, cacheKey: key, fromRun: hit.runId, why: `from run ${short(hit.runId)}${definition.alive === undefined ? "" : ", if it still stands"}` })
  }
  return explained
})
