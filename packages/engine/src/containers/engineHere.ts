/**
 * Whether an engine answers, and what it is. One small request and no SDK: plans and `hyper doctor` ask too. Starts nothing.
 */
import { existsSync } from "node:fs"
import type { EngineFacts } from "../capability/Containers.ts"
import { type EngineAddress, engineAddress, shownAddress } from "./engineAddress.ts"
import { EngineFault, faultOf } from "./EngineFault.ts"

const ANSWER_MILLIS = 3000

const get = async (address: EngineAddress, path: string): Promise<{ readonly status: number; readonly text: string }> => {
  if (address.kind === "socket" && !existsSync(address.path)) throw Object.assign(new Error("no socket"), { code: "ENOENT" }) // most often: then HTTP need not be loaded
  const { request } = await import("node:http")
  return new Promise((resolve, reject) => {
    const remote = address.kind === "remote" ? new URL(address.url.replace(/^tcp:/, "http:")) : undefined
    const at = address.kind === "socket" ? { socketPath: address.path, host: "docker" } : { hostname: remote!.hostname, port: remote!.port }
    const asked = request({ ...at, path, agent: false, timeout: ANSWER_MILLIS }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (part: string) => (text += part))
      response.on("error", reject)
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }))
    })
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${ANSWER_MILLIS / 1000} s`)))
    asked.on("error", reject)
    asked.end()
  })
}

interface Info {
  readonly ServerVersion?: string
  readonly Driver?: string
  readonly MemTotal?: number
  readonly OSType?: string
  readonly Runtimes?: Readonly<Record<string, unknown>>
  readonly SecurityOptions?: ReadonlyArray<string>
  readonly CDISpecDirs?: ReadonlyArray<string>
}

export const factsOf = (info: Info, address: EngineAddress): EngineFacts => ({
  version: (info.ServerVersion ?? "").replace(/\+.*/, ""),
  storageDriver: info.Driver ?? "",
  memory: info.MemTotal ?? 0,
  gpus: Object.keys(info.Runtimes ?? {}).some((name) => name.startsWith("nvidia")),
  remapped: (info.SecurityOptions ?? []).some((option) => /^name=(rootless|userns)/.test(option)),
  // Docker Desktop's engine lives in a virtual machine
  local: address.kind === "socket" && process.platform === "linux"
})

/** Rejects with an EngineFault. */
export const engineHere = async (address: EngineAddress = engineAddress()): Promise<EngineFacts> => {
  const at = shownAddress(address)
  try {
    if (address.kind === "remote" && !/^(tcp|https?):/.test(address.url)) throw new EngineFault("Refused", `DOCKER_HOST ${at} is of a kind that is not supported here`, "Use unix:///path/to/docker.sock.")
    const { status, text } = await get(address, "/info")
    if (status !== 200) throw new Error(`HTTP ${status}: ${text.slice(0, 200)}`)
    const info = JSON.parse(text) as Info
    if (info.OSType !== undefined && info.OSType !== "linux") throw new EngineFault("Refused", `The Docker engine at ${at} runs ${info.OSType} containers`, "Switch it to Linux containers.")
    return factsOf(info, address)
  } catch (cause) {
    throw faultOf("Containers", at, cause)
  }
}

/** Whether it has an image by this name (with tag, or digest). Rejects with an EngineFault where there is no telling. */
export const engineHasImage = async (reference: string, address: EngineAddress = engineAddress()): Promise<boolean> => {
  try {
    const { status, text } = await get(address, `/images/${reference}/json`)
    if (status !== 200 && status !== 404) throw new Error(`HTTP ${status}: ${text.slice(0, 200)}`)
    return status === 200
  } catch (cause) {
    throw faultOf(`Looking for the image ${reference}`, shownAddress(address), cause)
  }
}
