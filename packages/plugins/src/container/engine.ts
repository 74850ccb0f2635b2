/** What a plan and a run say of an engine that will not do. */
import type { EngineFacts } from "@hypernode/engine/capability/Containers"
import type { Options } from "./Options.ts"

export const WITHOUT = "Serve with transformers(), which needs no engine"

/** What the gateway is to reach must be on this machine; and a socket must belong to somebody whom this machine knows. */
export const unfit = ({ port }: Options) => ({ local, remapped }: EngineFacts): string | undefined => {
  if (!local) return "The Docker engine is on another machine, or in a virtual one: the gateway cannot reach its containers"
  if (remapped && port === undefined) return "This Docker engine maps its users to others (rootless, or userns-remap): the socket that a container makes cannot be opened outside"
  return undefined
}
