/** What went wrong with the engine, in words and with a remedy. Plain Node: the program that owns a container imports this file. */
import type { ContainerReason } from "../capability/Containers.ts"

export class EngineFault extends Error {
  readonly reason: ContainerReason
  readonly remedy: string
  constructor(reason: ContainerReason, message: string, remedy: string) {
    super(message)
    this.reason = reason
    this.remedy = remedy
  }
}

export const START_DOCKER = "Install and start Docker (Debian and Ubuntu: apt-get install docker.io, then systemctl start docker); DOCKER_HOST names an engine that listens elsewhere. Without one: bubblewrap for training, oci() and transformers() for packaging and serving."

export const FREE_DISK = "Free some space where the engine keeps its images (docker system df shows what it holds, docker image prune removes what nothing uses), then run `hyper resume`."

const NO_SPACE = /no space left on device|disk quota exceeded/i

/** The engine's own sentence, without dockerode's frame around it. */
const said = (cause: unknown): string => {
  const { message } = cause as Error
  return message.replace(/^\(HTTP code \d+\)[^-]*- /, "").trim()
}

/** `doing`: "Cannot start container x". Idempotent on faults. */
export const faultOf = (doing: string, at: string, cause: unknown): EngineFault => {
  if (cause instanceof EngineFault) return cause
  const { code, statusCode } = cause as NodeJS.ErrnoException & { readonly statusCode?: number }
  const message = said(cause)
  if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTFOUND") return new EngineFault("NoEngine", `${doing}: no Docker engine answers at ${at}`, START_DOCKER)
  if (code === "EACCES" || code === "EPERM") return new EngineFault("Denied", `${doing}: the Docker engine's socket ${at} may not be opened by this user`, "Add the user to the group docker (its members are as good as root on this machine), or leave Docker out: bubblewrap needs no engine.")
  if (code === "ECONNRESET" || code === "EPIPE" || code === "ERR_STREAM_PREMATURE_CLOSE" || /aborted|socket hang up|premature close/i.test(message)) {
    return new EngineFault("EngineGone", `${doing}: the Docker engine at ${at} stopped answering half-way`, "See why it ended (journalctl -u docker), start it again, then run `hyper resume`: what was under way is done anew.")
  }
  if (NO_SPACE.test(message)) return new EngineFault("OutOfSpace", `${doing}: the Docker engine's disk is full: ${message}`, FREE_DISK)
  if (/could not select device driver|nvidia-container|no known GPU vendor/i.test(message)) {
    return new EngineFault("NoGpu", `${doing}: this Docker engine cannot hand out GPUs: ${message}`, "Install NVIDIA's container toolkit and restart the engine, or leave the GPUs out.")
  }
  if (statusCode === 404) return new EngineFault("NotFound", `${doing}: ${message}`, "Check the name with docker image ls; where it is an image of a registry, docker pull fetches it.")
  return new EngineFault("Refused", `${doing}: ${message}`, "The engine's log (journalctl -u docker) says more.")
}

/** For an instruction of a build that failed: the engine reports it as an event, with HTTP status 200. */
export const buildFault = (reference: string, message: string, last: ReadonlyArray<string>): EngineFault => {
  const tail = last.length === 0 ? "" : `\n${last.join("\n")}`
  if (NO_SPACE.test(message) || last.some((line) => NO_SPACE.test(line))) return new EngineFault("OutOfSpace", `The image ${reference} was not built, the Docker engine's disk is full: ${message}${tail}`, FREE_DISK)
  if (/pull access denied|manifest unknown|manifest for .* not found|no such host|dial tcp|i\/o timeout|TLS handshake|Client\.Timeout/i.test(message)) {
    return new EngineFault("NotFound", `The image ${reference} was not built, its base image cannot be had: ${message}`, "Check the base image's name and digest, and that the engine reaches its registry; or name a base that the engine has (docker image ls).")
  }
  return new EngineFault("BuildFailed", `The image ${reference} was not built: ${message}${tail}`, "The last lines of the failed instruction are above; nothing was tagged.")
}
