/**
 * A whole plugin in one file beside the pipeline (or in a package without a `./plugin` subpath): the named exports are factories, the
 * default export is the definition, as a function so that a pipeline file that imports the factory does not load what stages need.
 *
 *     // shuffled.ts
 *     import { pluginFrom } from "@hypernode/engine"
 *     const plugin = pluginFrom(import.meta.url, "shuffled")
 *     export const shuffled = (options: { readonly seed?: number } = {}) => plugin.use("shard", options)
 *     export default plugin.define(async () => {
 *       const Schema = await import("effect/Schema")
 *       const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
 *       return definePlugin({ id: "shuffled", version: "1.0.0", stages: { shard: stage({ ... }) } })
 *     })
 *
 * A definition of its own in a second file needs no `define`: `export default definePlugin(...)`, and `pluginFrom(new URL("./x.ts",
 * import.meta.url).href, "x")` in the first.
 */
import type { StageKind } from "../stage/StageKind.ts"
import type { PluginDefinition, Use } from "./Plugin.ts"
import { use } from "./use.ts"

/** What the planner accepts as the default export of a definition module. */
export type PluginExport = PluginDefinition | (() => PluginDefinition | Promise<PluginDefinition>)

export interface PluginFile {
  readonly use: <const K extends StageKind, Options>(kind: K, options: Options) => Use<K, Options>
  readonly define: (load: () => PluginDefinition | Promise<PluginDefinition>) => () => PluginDefinition | Promise<PluginDefinition>
}

export const pluginFrom = (url: string, id: string): PluginFile => ({
  use: (kind, options) => use(kind, { id, specifier: url }, options),
  define: (load) => load
})
