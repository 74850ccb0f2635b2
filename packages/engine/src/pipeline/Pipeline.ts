/**
 * What a pipeline file default-exports: `pipeline(name, (p) => { ... })`. The body only describes; it runs in the evaluation process,
 * with the parameters of that evaluation, and yields a RawPlan. Effect-free.
 */
import { fileURLToPath } from "node:url"
import type { Use } from "../plugin/Plugin.ts"
import { stageKinds, type StageKind } from "../stage/StageKind.ts"
import { toJson } from "./json.ts"
import { didYouMean } from "../plugin/near.ts"
import { paramValue, type Json, type Widen } from "./params.ts"
import { PipelineError } from "./PipelineError.ts"
import { ports } from "./ports.ts"
import type { Position, RawIssue, RawPlan, RawStep } from "./RawPlan.ts"
import { isWire, type Inputs, type Outputs, type Wire } from "./Wire.ts"

export interface StepOptions {
  /** unique in the pipeline; default: the kind, then kind-2 and so on. Name steps that you make in a loop: the id is part of what a run calls them. */
  readonly id?: string
}

/** A method for each kind: `p.train(plugin, { model, shards }, { id })`. */
type StageMethods = {
  readonly [K in StageKind]: {} extends Inputs<K>
    ? (plugin: Use<K, any>, inputs?: Inputs<K>, options?: StepOptions) => Outputs<K>
    : (plugin: Use<K, any>, inputs: Inputs<K>, options?: StepOptions) => Outputs<K>
}

export interface Builder extends StageMethods {
  /** A value that `hyper run --param name=...` may replace by another of the same type. */
  readonly param: <const T extends Json>(name: string, fallback: T) => Widen<T>
}

const BRAND = "hypernode.pipeline"

export interface Pipeline {
  readonly $type: typeof BRAND
  readonly name: string
  readonly build: (params: Readonly<Record<string, unknown>>) => RawPlan
}

/** Structural, so that two installed copies of the engine understand each other. */
export const isPipeline = (value: unknown): value is Pipeline =>
  typeof value === "object" && value !== null && (value as Pipeline).$type === BRAND && typeof (value as Pipeline).build === "function"

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** The first caller outside this package, which is a line of the pipeline file or of a module of its. */
const callerPosition = (): Position | undefined => {
  const own = import.meta.url.slice(0, import.meta.url.lastIndexOf("/pipeline/") + 1)
  for (const line of new Error().stack?.split("\n").slice(1) ?? []) {
    const match = /(file:\/\/.+?):(\d+):(\d+)\)?$/.exec(line)
    if (match !== null && !match[1]!.startsWith(own)) return { file: fileURLToPath(match[1]!), line: Number(match[2]), column: Number(match[3]) }
  }
  return undefined
}

const show = (value: unknown): string => (value === undefined ? "undefined" : typeof value === "function" ? "a function" : JSON.stringify(value)?.slice(0, 80) ?? typeof value)

/** The body may not be async: `void` alone would let it be. */
type Body = (p: Builder) => void | undefined | Wire

export const pipeline = (name: string, body: Body): Pipeline => {
  if (typeof name !== "string" || !ID.test(name)) {
    throw new PipelineError("pipeline", `${show(name)} is not a pipeline's name`, 'use letters, digits and . _ -, at most 64, for example pipeline("support-bot", (p) => { ... })')
  }
  if (typeof body !== "function") throw new PipelineError("pipeline", `the second argument of pipeline("${name}", ...) is ${show(body)}`, "give a function: (p) => { ... }")
  return { $type: BRAND, name, build: (params) => build(name, body, params) }
}

const build = (name: string, body: (p: Builder) => unknown, given: Readonly<Record<string, unknown>>): RawPlan => {
  const steps: Array<RawStep> = []
  const issues: Array<RawIssue> = []
  const params: Record<string, unknown> = {}
  const defaults: Record<string, unknown> = {}
  const secrets = new Set<string>()
  const counts = new Map<string, number>()
  let open = true

  const issue = (path: string, message: string, hint: string | undefined, at: Position | undefined): void => {
    issues.push({ path, message, ...(hint === undefined ? {} : { hint }), ...(at === undefined ? {} : { at }) })
  }

  const add = (kind: StageKind, plugin: unknown, inputs: unknown, options: unknown): unknown => {
    const at = callerPosition()
    if (!open) throw new PipelineError("pipeline", `p.${kind}(...) was called after the body of "${name}" had ended`, "describe every step inside the body; it may not be async")
    const asked = (options as StepOptions | undefined)?.id
    const count = (counts.get(kind) ?? 0) + 1
    counts.set(kind, count)
    let id = count === 1 ? kind as string : `${kind}-${count}`
    if (asked !== undefined) {
      if (typeof asked === "string" && ID.test(asked)) id = asked
      else issue(`steps.${id}.id`, `${show(asked)} is not a step's id`, "use letters, digits and . _ -, at most 64", at)
    }
    const path = `steps.${id}`

    const wires: Record<string, { step: string; path: ReadonlyArray<string> }> = {}
    if (inputs !== undefined && (typeof inputs !== "object" || inputs === null || isWire(inputs))) {
      issue(`${path}.inputs`, `${isWire(inputs) ? "a wire" : show(inputs)} is not an object of wires`, `write p.${kind}(plugin, { ${Object.keys(ports[kind].inputs).join(", ")} })`, at)
    } else {
      for (const [input, wire] of Object.entries(inputs ?? {})) {
        if (isWire(wire)) wires[input] = { step: wire.step, path: [...wire.path] }
        else if (wire !== undefined || (ports[kind].inputs as Record<string, string>)[input] === "required") {
          issue(`${path}.inputs.${input}`, `${show(wire)} is not a wire`, "give what another step returned", at)
        }
      }
    }

    const used = plugin as Use<string> | undefined
    const known = typeof used === "object" && used !== null && typeof used.kind === "string" && typeof used.plugin?.id === "string" && typeof used.plugin?.specifier === "string"
    if (!known) {
      const what = typeof plugin === "function" ? "a function" : isWire(plugin) ? "a wire" : show(plugin)
      issue(`${path}.plugin`, `${what} is not a plugin`, typeof plugin === "function" ? `call the factory: p.${kind}(plugin({ ... }), ...)` : `the first argument of p.${kind} is a plugin, such as torchrun({ ... })`, at)
    } else {
      const notJson: Array<{ path: string; message: string; hint?: string }> = []
      const json = toJson(used.options ?? {}, `${path}.options`, notJson, secrets)
      for (const problem of notJson) issue(problem.path, problem.message, problem.hint, at)
      steps.push({ id, kind, plugin: { id: used.plugin.id, specifier: used.plugin.specifier, kind: used.kind }, options: json, inputs: wires, ...(at === undefined ? {} : { at }) })
    }

    const output: string | Readonly<Record<string, string>> = ports[kind].output
    const wire = ($wire: string, path: ReadonlyArray<string>): Wire => Object.freeze({ $wire, step: id, path })
    return typeof output === "string" ? wire(output, []) : Object.fromEntries(Object.entries(output).map(([key, carries]) => [key, wire(carries, [key])]))
  }

  const param = (key: string, fallback: Json): unknown => {
    const at = callerPosition()
    if (typeof key !== "string" || !ID.test(key)) throw new PipelineError("params", `${show(key)} is not a parameter's name`, "use letters, digits and . _ -")
    const path = `params.${key}`
    const notJson: Array<{ path: string; message: string; hint?: string }> = []
    toJson(fallback, path, notJson, new Set())
    if (fallback === undefined || notJson.length > 0) {
      issue(path, `the default ${show(fallback)} is not JSON`, `give one: p.param("${key}", 1)`, at)
      return fallback
    }
    if (Object.hasOwn(defaults, key) && JSON.stringify(defaults[key]) !== JSON.stringify(fallback)) {
      issue(path, `declared twice, with the defaults ${show(defaults[key])} and ${show(fallback)}`, "call p.param once and use its value twice", at)
    }
    defaults[key] = fallback
    params[key] = fallback
    if (Object.hasOwn(given, key)) {
      try {
        params[key] = paramValue(key, given[key], fallback)
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error
        issue(error.path, error.message, error.hint, at)
      }
    }
    return params[key]
  }

  const methods: Record<string, unknown> = { param }
  for (const kind of stageKinds) methods[kind] = (plugin: unknown, inputs: unknown, options: unknown) => add(kind, plugin, inputs, options)
  const p = new Proxy(methods, {
    get: (target, key) => {
      if (typeof key === "symbol" || Object.hasOwn(target, key)) return target[key as string]
      throw new PipelineError(`p.${key}`, `there is no p.${key}`, didYouMean(key, Object.keys(methods), "methods"))
    }
  })

  const result = body(p as unknown as Builder)
  if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function") {
    void Promise.resolve(result).catch(() => undefined)
    throw new PipelineError("pipeline", `the body of "${name}" is async`, "a pipeline only describes: make the body synchronous")
  }
  open = false
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(defaults, key)) issue(`params.${key}`, `"${name}" has no parameter ${key}`, didYouMean(key, Object.keys(defaults), "parameters"), undefined)
  }
  return { pipeline: name, params, defaults, secrets: [...secrets].toSorted(), steps, issues }
}
