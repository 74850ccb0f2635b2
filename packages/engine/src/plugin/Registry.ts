/**
 * Finds, checks and loads plugin definitions. A plugin is trusted code that runs in the engine's process; what protects a plan is that
 * it names each plugin's source digest and that a changed one is refused. A shared server also gives `allow`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { pathToFileURL } from "node:url"
import type { Digest } from "../artifact/Digest.ts"
import { didYouMean } from "./near.ts"
import type { StageKind } from "../stage/StageKind.ts"
import { StageError } from "../stage/StageError.ts"
import { importFresh } from "./importFresh.ts"
import { locate, type Location } from "./locate.ts"
import { CONTRACT_VERSION, type PluginDefinition, type StageDefinition } from "./Plugin.ts"
import { PluginProblem } from "./PluginProblem.ts"
import { sourceDigest } from "./sourceDigest.ts"

export interface Loaded {
  readonly definition: PluginDefinition
  /** as a plan records it */
  readonly specifier: string
  readonly sourceDigest: Digest
  readonly origin: Location["origin"]
}

/** What a plan's step says of its plugin. */
export interface PlannedUse {
  readonly id: string
  readonly kind: string
  readonly plugin: { readonly id: string; readonly specifier: string; readonly sourceDigest: Digest; readonly contractVersion: number }
  readonly options: unknown
}

export interface RegistryOptions {
  /** Specifiers that may be loaded; `./` allows files beside a pipeline. Absent: all. */
  readonly allow?: ReadonlyArray<string>
}

const permitted = (location: Location, allow: ReadonlyArray<string> | undefined): boolean =>
  allow === undefined ||
  allow.some((allowed) => location.origin === "file" ? allowed === "./" : location.specifier === allowed || location.specifier.startsWith(`${allowed}/`))

/** Packages are loaded once: what their digest was then. */
const loadedPackages = new Map<string, Digest>()

const isDefinition = (value: unknown): value is PluginDefinition =>
  typeof value === "object" && value !== null && typeof (value as PluginDefinition).id === "string" && typeof (value as PluginDefinition).version === "string" &&
  typeof (value as PluginDefinition).stages === "object" && (value as PluginDefinition).stages !== null

const definitionOf = async (module: { readonly default?: unknown }, location: Location): Promise<PluginDefinition> => {
  let exported = module.default
  if (typeof exported === "function") exported = await (exported as () => unknown)()
  if (!isDefinition(exported)) throw new PluginProblem("InvalidInput", `${location.entry} has no plugin definition as its default export`, "write: export default definePlugin({ id, version, stages: { ... } })")
  if (exported.contractVersion !== CONTRACT_VERSION) {
    throw new PluginProblem(
      "InvalidInput",
      `plugin ${exported.id} ${exported.version} is written for contract ${exported.contractVersion}, this engine has contract ${CONTRACT_VERSION}`,
      exported.contractVersion > CONTRACT_VERSION ? "update @hypernode/engine" : `update ${location.specifier}`
    )
  }
  return exported
}

/** By specifier: a package subpath, a file URL, or a path relative to the project. Rejects with PluginProblem only. */
export const loadPlugin = async (specifier: string, projectDirectory: string, options: RegistryOptions = {}, expected?: { readonly sourceDigest: Digest; readonly id: string }): Promise<Loaded> => {
  const location = await locate(specifier, projectDirectory)
  if (!permitted(location, options.allow)) {
    throw new PluginProblem("Denied", `this server does not load the plugin ${location.specifier}`, `ask its operator; allowed: ${options.allow!.join(", ") || "none"}`)
  }
  try {
    const digest = sourceDigest(location)
    if (expected !== undefined && digest !== expected.sourceDigest) {
      throw new PluginProblem("Corrupt", `plugin ${expected.id} (${location.specifier}) changed since this plan was made: its source is ${digest.slice(0, 19)}, the plan has ${expected.sourceDigest.slice(0, 19)}`, "run hyper plan again and start a new run, or put the plugin back as it was")
    }
    const before = loadedPackages.get(location.entry)
    if (before !== undefined && before !== digest) {
      throw new PluginProblem("Corrupt", `plugin ${location.specifier} changed while this process had it loaded`, "run hyper stop, then the command again")
    }
    const module = location.origin === "file" ? await importFresh(location.entry, digest) : await import(/* @vite-ignore */ pathToFileURL(location.entry).href) as { readonly default?: unknown }
    const definition = await definitionOf(module, location)
    if (location.origin !== "file") loadedPackages.set(location.entry, digest)
    // an editor saves files beside a pipeline; packages are installed by npm, and `loadedPackages` sees a later change
    if (location.origin === "file" && sourceDigest(location) !== digest) throw new PluginProblem("Corrupt", `plugin ${location.specifier} changed while it was being loaded`, "run the command again")
    return { definition, specifier: location.specifier, sourceDigest: digest, origin: location.origin }
  } catch (error) {
    if (error instanceof PluginProblem) throw error
    const message = error instanceof Error ? error.message : String(error)
    throw new PluginProblem("InvalidInput", `plugin ${location.specifier} (${location.entry}) could not be loaded: ${message}`, "correct the plugin; a missing package is installed with npm install")
  }
}

/** The stage of `kind`. Throws PluginProblem. */
export const stageOf = (definition: PluginDefinition, kind: string): StageDefinition => {
  const found = Object.hasOwn(definition.stages, kind) ? definition.stages[kind as StageKind] : undefined
  if (found === undefined) throw new PluginProblem("InvalidInput", `plugin ${definition.id} implements no ${kind} stage`, didYouMean(kind, Object.keys(definition.stages), `stages of ${definition.id}`))
  return found as StageDefinition
}

/** For the engine: the definition behind a plan's step and its options, decoded; a changed source is refused. Has the shape of run/Stages. */
export const load = Effect.fn("Registry.load")(function*(step: PlannedUse, projectDirectory: string, options: RegistryOptions = {}) {
  const definition = yield* Effect.tryPromise({
    try: async () => {
      if (step.plugin.contractVersion !== CONTRACT_VERSION) {
        throw new PluginProblem("InvalidInput", `the plan was made for plugin contract ${step.plugin.contractVersion}, this engine has ${CONTRACT_VERSION}`, "run hyper plan again and start a new run")
      }
      const loaded = await loadPlugin(step.plugin.specifier, projectDirectory, options, step.plugin)
      return stageOf(loaded.definition, step.kind)
    },
    catch: (error) =>
      error instanceof PluginProblem
        ? new StageError({ reason: error.reason, message: error.message, remedy: error.remedy })
        : new StageError({ reason: "Internal", message: error instanceof Error ? error.message : String(error) })
  })
  const decoded: unknown = yield* Schema.decodeUnknownEffect(definition.options)(step.options, { errors: "all", onExcessProperty: "error" }).pipe(
    Effect.mapError((error) => new StageError({ reason: "InvalidInput", message: `options of ${step.id} (${step.plugin.id}) do not fit its schema: ${error.message}`, remedy: "run hyper plan again" }))
  )
  return { definition, options: decoded }
})
