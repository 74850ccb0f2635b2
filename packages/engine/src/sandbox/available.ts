/** Which sandbox this machine can really make, found by making one, the strongest first. Needs no home and no service. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { engineHere } from "../containers/engineHere.ts"
import { availableBubblewrap } from "./availableBubblewrap.ts"
import type { SandboxTools } from "./bubblewrap.ts"
import { sandboxFiles } from "./SandboxFiles.ts"

export type Availability =
  | { readonly kind: "container" }
  | { readonly kind: "bubblewrap"; readonly tools: SandboxTools }
  /** one reason for each sandbox that cannot be had */
  | { readonly kind: "none"; readonly reasons: ReadonlyArray<string> }

export const REMEDY = `Install bubblewrap (apt-get install bubblewrap), or install Docker, or run without one: sandbox: "none" (or "auto", which takes what there is).`

/** Why an engine that answers cannot confine a job of this machine's; undefined: it may. One small request. */
const unfit = async (): Promise<string | undefined> => {
  try {
    const { local, remapped } = await engineHere()
    if (!local) return "container: the Docker engine is on another machine, or in a virtual one"
    if (remapped) return "container: the Docker engine maps its users to others (rootless, or userns-remap), which cannot open a job's files"
    return undefined
  } catch (cause) {
    return `container: ${(cause as Error).message.replace("Containers: ", "")}`
  }
}

const tryContainer = async (): Promise<string | undefined> => {
  const reason = await unfit()
  if (reason !== undefined) return reason
  const directory = mkdtempSync(join(tmpdir(), "hyper-sandbox-"))
  try {
    const { checkContainer } = await import("./checkContainer.ts")
    const said = await checkContainer(sandboxFiles(directory).directory)
    return said === undefined ? undefined : `container: ${said}`
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

let confines: Promise<string | undefined> | undefined

/** One that was made once is made again while the engine answers: asked each time, because an engine may have been stopped since. */
const availableContainer = async (): Promise<string | undefined> => {
  const reason = confines === undefined || (await confines) !== undefined ? undefined : await unfit()
  if (reason !== undefined) return reason
  if (confines === undefined || (await confines) !== undefined) confines = tryContainer()
  return confines
}

const orBubblewrap = async (noContainer: string): Promise<Availability> => {
  const { reason, tools } = await availableBubblewrap()
  return tools === undefined ? { kind: "none", reasons: [noContainer, reason] } : { kind: "bubblewrap", tools }
}

export const availableSandbox = async (): Promise<Availability> => {
  const noContainer = await availableContainer()
  return noContainer === undefined ? { kind: "container" } : orBubblewrap(noContainer)
}

/** For plans, which start no container: what it will most likely be. The run tells what it was. */
export const likelySandbox = async (): Promise<Availability> => {
  const noContainer = await unfit()
  return noContainer === undefined ? { kind: "container" } : orBubblewrap(noContainer)
}
