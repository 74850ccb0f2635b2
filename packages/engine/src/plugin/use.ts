/**
 * How a plugin's `index.ts` makes what a pipeline file hands to `p.train(...)` and its siblings. Effect-free: planning is instant.
 *
 * `specifier` names the package subpath of the factory (`@hypernode/plugins/age`, `my-hyper-plugin`); the definition is the module at
 * `<specifier>/plugin`, which only the planner and the engine load. A plugin in one file beside the pipeline uses `pluginFrom`.
 */
import type { StageKind } from "../stage/StageKind.ts"
import type { Use } from "./Plugin.ts"

export const use = <const K extends StageKind, Options>(
  kind: K,
  plugin: { readonly id: string; readonly specifier: string },
  options: Options
): Use<K, Options> => ({ kind, plugin: { id: plugin.id, specifier: plugin.specifier }, options })
