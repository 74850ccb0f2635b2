/** What is packed: the modules that a command imports, with everything that these import. */
import { programPath } from "@hypernode/engine/program"

export interface PackOf {
  readonly name: "plan" | "daemon"
  /** absolute paths or specifiers, as seen from this package */
  readonly entries: ReadonlyArray<string>
  /** loaded before the pack: what these import is not in it, so that there are never two of one module */
  readonly before: ReadonlyArray<string>
}

const here = (name: string): string => programPath(import.meta.url, name)

/** `plugins`: ids of our own. */
export const packs = (plugins: ReadonlyArray<string>): ReadonlyArray<PackOf> => {
  const definitions = plugins.map((id) => `@hypernode/plugins/${id}/plugin`)
  return [
    { name: "plan", entries: [here("../plan/planView"), "effect/Effect", "effect/Exit", ...definitions], before: [here("../main"), here("../commands/plan"), here("../plan/planHere")] },
    { name: "daemon", entries: [here("../daemon/program"), ...definitions], before: [here("../daemon/main")] }
  ]
}
