/**
 * From what a pipeline file described to a plan: plugins loaded and recorded, options decoded with their defaults, wires and order
 * checked. All problems are collected, not just the first.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { digestOfJson, type Digest } from "../artifact/Digest.ts"
import type { RawIssue, RawPlan, RawStep } from "../pipeline/RawPlan.ts"
import type { StageDefinition } from "../plugin/Plugin.ts"
import { PluginProblem } from "../plugin/PluginProblem.ts"
import { loadPlugin, stageOf, type Loaded, type RegistryOptions } from "../plugin/Registry.ts"
import type { StageKind } from "../stage/StageKind.ts"
import { decodeOptions } from "./options.ts"
import { inOrder } from "./order.ts"
import { Plan, PLAN_VERSION, type PlanStep } from "./Plan.ts"
import { planError, type PlanError } from "./PlanError.ts"
import { wireIssues } from "./wires.ts"

/** A step with what only this process knows of it. */
export interface PlannedStep {
  readonly step: PlanStep
  readonly definition: StageDefinition
  readonly options: unknown
  readonly origin: Loaded["origin"]
}

export interface Planned {
  readonly plan: Plan
  readonly digest: Digest
  /** in the plan's order */
  readonly steps: ReadonlyArray<PlannedStep>
}

const Position = Schema.Struct({ file: Schema.String, line: Schema.Int, column: Schema.Int })
/** The evaluation process ran the user's code: what it says is checked like any input. */
const Raw: Schema.Codec<RawPlan> = Schema.Struct({
  pipeline: Schema.String,
  params: Schema.Record(Schema.String, Schema.Unknown),
  defaults: Schema.Record(Schema.String, Schema.Unknown),
  secrets: Schema.Array(Schema.String),
  steps: Schema.Array(Schema.Struct({
    id: Schema.String,
    kind: Schema.String,
    plugin: Schema.Struct({ id: Schema.String, specifier: Schema.String, kind: Schema.String }),
    options: Schema.Unknown,
    inputs: Schema.Record(Schema.String, Schema.Struct({ step: Schema.String, path: Schema.Array(Schema.String) })),
    at: Schema.optionalKey(Position)
  })),
  issues: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String, hint: Schema.optionalKey(Schema.String), at: Schema.optionalKey(Position) }))
})

const article = (kind: string): string => (/^[aeiou]/.test(kind) ? `an ${kind}` : `a ${kind}`)

const secretsIn = (value: unknown): ReadonlyArray<string> => {
  if (typeof value !== "object" || value === null) return []
  const { $secret } = value as { readonly $secret?: unknown }
  return typeof $secret === "string" && Object.keys(value).length === 1 ? [$secret] : Object.values(value).flatMap(secretsIn)
}

/** One step without its wires: the plugin's stage and the options. Issues instead, where there are any. */
const stepOf = Effect.fnUntraced(function*(raw: RawStep, loaded: Loaded | PluginProblem) {
  const base = `steps.${raw.id}`
  const at = raw.at === undefined ? {} : { at: raw.at }
  if (raw.plugin.kind !== raw.kind) {
    return [{ path: `${base}.plugin`, message: `${raw.plugin.id} is ${article(raw.plugin.kind)} plugin, p.${raw.kind} takes ${article(raw.kind)} plugin`, hint: `call p.${raw.plugin.kind}(${raw.plugin.id}(...), ...)`, ...at }] as ReadonlyArray<RawIssue>
  }
  if (loaded instanceof PluginProblem) return [{ path: `${base}.plugin`, message: loaded.message, hint: loaded.remedy, ...at }] as ReadonlyArray<RawIssue>
  if (loaded.definition.id !== raw.plugin.id) {
    return [{ path: `${base}.plugin`, message: `the factory says its plugin is ${raw.plugin.id}, but ${loaded.specifier} defines ${loaded.definition.id}`, hint: "give both the same id", ...at }] as ReadonlyArray<RawIssue>
  }
  let definition: StageDefinition
  try {
    definition = stageOf(loaded.definition, raw.kind)
  } catch (error) {
    const { message, remedy } = error as PluginProblem
    return [{ path: `${base}.plugin`, message, hint: remedy, ...at }] as ReadonlyArray<RawIssue>
  }
  const options = yield* decodeOptions(definition, raw.options, `${base}.options`, raw.plugin.id)
  if (!options.ok) return options.issues.map((issue): RawIssue => ({ ...issue, ...at })) as ReadonlyArray<RawIssue>
  const step: PlanStep = {
    id: raw.id,
    kind: raw.kind,
    plugin: {
      id: loaded.definition.id,
      specifier: loaded.specifier,
      version: loaded.definition.version,
      sourceDigest: loaded.sourceDigest,
      contractVersion: loaded.definition.contractVersion
    },
    options: options.encoded as Schema.Json,
    inputs: raw.inputs
  }
  const planned: PlannedStep = { step, definition, options: options.decoded, origin: loaded.origin }
  return planned
})

const isIssues = (value: PlannedStep | ReadonlyArray<RawIssue>): value is ReadonlyArray<RawIssue> => Array.isArray(value)

/** Wires that fit by name, into steps that cannot use what this plugin gives. */
const takerIssues = (steps: ReadonlyArray<PlannedStep>, raw: ReadonlyArray<RawStep>): ReadonlyArray<RawIssue> => {
  const givers = new Map(steps.map(({ definition, step }) => [step.id, definition]))
  return steps.flatMap(({ step }) =>
    Object.entries(step.inputs).flatMap(([input, wire]): ReadonlyArray<RawIssue> => {
      const takers = givers.get(wire.step)?.takers?.[wire.path[0] ?? input]
      if (takers === undefined || takers.accepts(step.kind as StageKind, step.plugin.id)) return []
      const at = raw.find(({ id }) => id === step.id)?.at
      return [{ path: `steps.${step.id}.inputs.${input}`, message: takers.message, hint: takers.remedy, ...(at === undefined ? {} : { at }) }]
    })
  )
}

/** `file` is for messages; relative plugin files and options start at `projectDirectory`. */
export const makePlan = Effect.fn("Planner.makePlan")(function*(
  input: unknown,
  context: { readonly file: string; readonly projectDirectory: string } & RegistryOptions
): Effect.fn.Return<Planned, PlanError> {
  const raw = yield* Schema.decodeUnknownEffect(Raw)(input).pipe(
    Effect.mapError((error) => planError("Failed", context.file, [{ path: "", message: `the evaluation gave something that is not a plan: ${error.message}`, hint: "is another version of @hypernode/engine installed beside the pipeline?" }]))
  )
  const issues: Array<RawIssue> = [...raw.issues]
  if (raw.steps.length === 0 && issues.length === 0) {
    issues.push({ path: "steps", message: `pipeline "${raw.pipeline}" describes no steps`, hint: "call p.select(...) and so on inside its body" })
  }

  const seen = new Set<string>()
  for (const step of raw.steps) {
    if (seen.has(step.id)) issues.push({ path: `steps.${step.id}`, message: `two steps have the id ${step.id}`, hint: "give one another id: the third argument of p." + step.kind + " is { id }", ...(step.at === undefined ? {} : { at: step.at }) })
    seen.add(step.id)
  }

  const specifiers = [...new Set(raw.steps.map((step) => step.plugin.specifier))]
  const loaded = new Map(
    yield* Effect.forEach(
      specifiers,
      (specifier) =>
        Effect.tryPromise({ try: () => loadPlugin(specifier, context.projectDirectory, context), catch: (error) => error as PluginProblem }).pipe(
          Effect.catch((problem) => Effect.succeed(problem)),
          Effect.map((result) => [specifier, result] as const)
        ),
      { concurrency: "unbounded" }
    )
  )

  issues.push(...wireIssues(raw.steps, new Set(issues.map((issue) => issue.path))))
  const order = inOrder(raw.steps)
  if (!order.ok) {
    const at = raw.steps.find((step) => step.id === order.cycle[0])?.at
    issues.push({ path: `steps.${order.cycle[0]}`, message: `the steps wait for each other: ${order.cycle.join(" → ")}`, hint: "a step can only take what an earlier step gives", ...(at === undefined ? {} : { at }) })
  }
  const steps: Array<PlannedStep> = []
  const told = new Set<PluginProblem>()
  for (const step of order.ok ? order.steps : raw.steps) {
    const plugin = loaded.get(step.plugin.specifier)!
    // a plugin that cannot be loaded is one problem, however many steps use it
    if (plugin instanceof PluginProblem && told.has(plugin)) continue
    if (plugin instanceof PluginProblem) told.add(plugin)
    const made = yield* stepOf(step, plugin)
    if (isIssues(made)) issues.push(...made)
    else steps.push(made)
  }
  issues.push(...takerIssues(steps, raw.steps))
  if (issues.length > 0) return yield* planError("Invalid", context.file, issues)

  const plan: Plan = {
    version: PLAN_VERSION,
    pipeline: raw.pipeline,
    params: raw.params as Plan["params"],
    secrets: [...new Set(steps.flatMap(({ step }) => secretsIn(step.options)))].toSorted(),
    steps: steps.map(({ step }) => step)
  }
  yield* Schema.decodeUnknownEffect(Plan)(plan).pipe(Effect.mapError((error) => planError("Failed", context.file, [{ path: "", message: `the plan does not fit its own schema: ${error.message}`, hint: "this is a defect in hyper" }])))
  return { plan, digest: digestOfJson(plan), steps }
})
