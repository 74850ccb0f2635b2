/** What a plan says of the engine that a step needs: there it is, or refused, with what to do instead. One small request. */
import { engineHere } from "./engineHere.ts"
import type { EngineFault } from "./EngineFault.ts"

export interface EngineNote {
  readonly level: "info" | "refuse"
  readonly message: string
  readonly remedy?: string
}

/** `notLocal`: what to say where the step needs an engine on this machine, and it is not. */
export const engineNote = async (alternative: string, notLocal?: string): Promise<EngineNote> => {
  try {
    const { local, storageDriver, version } = await engineHere()
    if (!local && notLocal !== undefined) return { level: "refuse", message: notLocal, remedy: alternative }
    return { level: "info", message: `Docker engine ${version}, ${storageDriver}` }
  } catch (cause) {
    const { message, remedy } = cause as EngineFault
    return { level: "refuse", message: message.replace("Containers: ", ""), remedy: `${alternative}. Or: ${remedy}` }
  }
}
