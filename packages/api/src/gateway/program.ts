/** Path of the gateway's program, for the engine's `GatewayProgram`. */
import { programPath } from "@hypernode/engine/program"

export const gatewayProgram = programPath(import.meta.url, "./main")
