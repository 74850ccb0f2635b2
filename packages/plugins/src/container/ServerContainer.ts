/** The container that a serve step asks for, and where the gateway finds it. */
import { createHash } from "node:crypto"
import { chownSync, chmodSync, mkdirSync } from "node:fs"
import { createServer } from "node:net"
import { totalmem } from "node:os"
import { join } from "node:path"
import type { ContainerMount, ContainerSpec } from "@hypernode/engine/capability/Containers"
import { homeLabel, LABEL } from "@hypernode/engine/containers/labels"
import { homeAt } from "@hypernode/engine/Home"
import { SANDBOX_UID } from "@hypernode/engine/sandbox/bubblewrap"
import type { Packaged } from "@hypernode/engine/stage/values"
import type { ServeContext } from "../serving/endpoint.ts"
import type { ServerFiles } from "../serving/ServerFiles.ts"
import type { Options } from "./Options.ts"

const PROCESSES = 4096
const MEMORY_SHARE = 0.9
/** of the container's own */
const SOCKETS = "/run/hyper"

export interface ServerContainer {
  readonly spec: ContainerSpec
  /** as the gateway wants it */
  readonly upstream: string
}

/** As root, somebody else's: without a remap the engine's root is the host's. Otherwise ours, so that we can open what it makes. */
const ownUser = (): { readonly uid: number; readonly gid: number } => {
  const uid = process.getuid?.() ?? 0
  return uid === 0 ? { uid: SANDBOX_UID, gid: SANDBOX_UID } : { uid, gid: process.getgid?.() ?? uid }
}

/** A loopback port that is free now: kept for this server over its restarts. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

/** `files`: the model's directories, for an image that brings none. */
export const serverContainer = async (context: ServeContext<Options>, packaged: Pick<Packaged, "digest" | "image">, files: ServerFiles | undefined): Promise<ServerContainer> => {
  const { options } = context
  const { gid, uid } = ownUser()
  const key = createHash("sha256").update(context.jobKey).digest("hex").slice(0, 12)
  const memory = options.memory === undefined ? Math.floor(totalmem() * MEMORY_SHARE) : options.memory * 2 ** 20
  const mount = (source: string, target: string): ContainerMount => ({ source, target, readOnly: true })
  const common = {
    name: `hyper-serve-${key}`,
    labels: {
      [LABEL.home]: homeLabel(context.home),
      [LABEL.run]: context.runId,
      [LABEL.step]: context.stepId,
      [LABEL.purpose]: "serve",
      [LABEL.package]: packaged.digest,
      ...(context.plan === undefined ? {} : { [LABEL.plan]: context.plan })
    },
    user: options.user ?? `${uid}:${gid}`,
    tmpfs: { "/tmp": Math.floor(memory / 2) },
    readOnlyRoot: true,
    memory,
    pids: PROCESSES,
    sharedMemory: Math.floor(memory / 2),
    ...(options.gpus === undefined ? {} : { gpus: options.gpus }),
    keepLogs: false
  }
  const given = options.mounts.map((path) => mount(path, path))
  if (options.port === undefined) {
    // its own directory, so that it may make its socket there and sees no other
    const directory = join(homeAt(context.home, context.cache).sockets, `c-${key}`)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    chmodSync(directory, 0o700)
    if (process.getuid?.() === 0) chownSync(directory, uid, gid)
    const socket = `${SOCKETS}/s`
    return {
      spec: { ...common, image: packaged.image?.id ?? "", command: options.command ?? ["--socket", socket], env: { ...options.env, HYPER_SOCKET: socket }, network: "none", mounts: [...given, { source: directory, target: SOCKETS, readOnly: false }] },
      upstream: `unix:${join(directory, "s")}`
    }
  }
  const model = files === undefined ? [] : [mount(files.model, "/model"), ...(files.adapter === undefined ? [] : [mount(files.adapter, "/adapter")]), ...(files.tokenizer === files.model ? [] : [mount(files.tokenizer, "/tokenizer")])]
  for (const { source } of model) chmodSync(source, 0o755) // whatever the umask: somebody else reads them
  // on the host's own network there is nothing to publish
  const port = options.network === "host" ? options.port : await freePort()
  return {
    spec: {
      ...common,
      image: options.image ?? "",
      ...(options.command === undefined ? {} : { command: options.command }),
      env: { HOME: "/tmp", ...options.env },
      network: options.network,
      ...(options.network === "host" ? {} : { ports: { [options.port]: port } }),
      mounts: [...given, ...model]
    },
    upstream: `http://127.0.0.1:${port}`
  }
}
