/** Loads the definitions of our own plugins while the database starts, so that the first plan does not wait for them. */
import { ownPlugins, OWN_PACKAGE } from "@hypernode/engine/plugin/locate"
import { loadPlugin } from "@hypernode/engine/plugin/Registry"
import { setImmediate } from "node:timers/promises"

/** Never rejects: a plugin that does not load says so in the plan that uses it. One at a time, so that a request gets its turn between them. */
export const warmUp = async (projectDirectory: string, signal: AbortSignal): Promise<void> => {
  for (const id of await ownPlugins(projectDirectory).catch(() => [])) {
    await setImmediate()
    if (signal.aborted) return
    await loadPlugin(`${OWN_PACKAGE}/${id}`, projectDirectory).catch(() => undefined)
  }
}
