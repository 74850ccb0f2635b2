/** Where the Docker engine listens: `DOCKER_HOST`, as docker's own command reads it, or the socket of the system or the user. */
import { existsSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

export type EngineAddress =
  | { readonly kind: "socket"; readonly path: string }
  /** of another machine, for all we know: its bind mounts are not ours */
  | { readonly kind: "remote"; readonly url: string }

export const SYSTEM_SOCKET = "/var/run/docker.sock"

export const engineAddress = (env: Readonly<Record<string, string | undefined>> = process.env): EngineAddress => {
  const host = env["DOCKER_HOST"]
  if (host !== undefined && host !== "") return host.startsWith("unix://") ? { kind: "socket", path: host.slice("unix://".length) } : { kind: "remote", url: host }
  const desktop = join(homedir(), ".docker/run/docker.sock")
  return { kind: "socket", path: !existsSync(SYSTEM_SOCKET) && existsSync(desktop) ? desktop : SYSTEM_SOCKET }
}

export const shownAddress = (address: EngineAddress): string => (address.kind === "socket" ? `unix://${address.path}` : address.url.replace(/\/\/[^@/]*@/, "//"))
