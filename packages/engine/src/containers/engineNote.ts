/** What a plan says of the engine that a step needs: there it is, or refused, with what to do instead. One small request. */
import type { EngineFacts } from "../capability/Containers.ts"
import { engineHere } from "./engineHere.ts"
import type { EngineFault } from "./EngineFault.ts"

export interface EngineNote {
  readonly level: "info" | "refuse"
  readonly message: string
  readonly remedy?: string
}

/** `unfit`: why an engine that answers will not do for the step; undefined where it will. */
export const engineNote = async (alternative: string, unfit: (facts: EngineFacts) => string | undefined = () => undefined): Promise<EngineNote> => {
  try {
    const facts = await engineHere()
    const { storageDriver, version } = facts
    const reason = unfit(facts)
    if (reason !== undefined) return { level: "refuse", message: reason, remedy: alternative }
    return { level: "info", message: `Docker engine ${version}, ${storageDriver}` }
  } catch (cause) {
    const { message, remedy } = cause as EngineFault
    return { level: "refuse", message: message.replace("Containers: ", ""), remedy: `${alternative}. Or: ${remedy}` }
  }
}
