/**
 * The Docker engine by dockerode, in promises that reject with an EngineFault. The only file that knows dockerode. No effect in it: the
 * program that owns a container (ownContainer.ts) uses it too.
 */
import type Docker from "dockerode"
import type { ContainerEnd, ContainerInfo, ContainerSpec, Image } from "../capability/Containers.ts"
import { type EngineAddress, engineAddress, shownAddress } from "./engineAddress.ts"
import { buildFault, EngineFault, faultOf } from "./EngineFault.ts"
import { formatIdentity, identityOf, isRunning, parseIdentity } from "../jobs/ProcessIdentity.ts"
import { createRequest } from "./createRequest.ts"
import { jsonLines } from "./jsonLines.ts"
import { LABEL } from "./labels.ts"

interface BuildEvent {
  readonly stream?: string
  readonly status?: string
  readonly error?: string
  readonly aux?: { readonly ID?: string }
}

export interface BuildRequest {
  readonly reference: string
  readonly context: NodeJS.ReadableStream
  readonly labels: Readonly<Record<string, string>>
  readonly buildArgs?: Readonly<Record<string, string>>
  readonly network?: string
}

/** Standard input, output and error of a container, in dockerode's frames (`modem.demuxStream`). */
export interface Attachment {
  readonly stream: NodeJS.ReadWriteStream & { readonly destroy: () => void }
  readonly split: (out: NodeJS.WritableStream, err: NodeJS.WritableStream) => void
}

const TAIL_LINES = 12

const statusOf = (cause: unknown): number | undefined => (cause as { readonly statusCode?: number }).statusCode

export class DockerEngine {
  readonly at: string
  readonly #docker: Docker

  private constructor(docker: Docker, at: string) {
    this.#docker = docker
    this.at = at
  }

  /** The SDK is loaded here, on first use. Nothing is asked of the engine yet. */
  static async open(address: EngineAddress = engineAddress()): Promise<DockerEngine> {
    const { default: Dockerode } = await import("dockerode")
    const at = shownAddress(address)
    try {
      // for another machine, dockerode reads DOCKER_HOST and the certificates' variables itself
      return new DockerEngine(address.kind === "socket" ? new Dockerode({ socketPath: address.path }) : new Dockerode(), at)
    } catch (cause) {
      throw faultOf("Opening DOCKER_HOST", at, cause)
    }
  }

  #fault(doing: string): (cause: unknown) => never {
    return (cause) => {
      throw faultOf(doing, this.at, cause)
    }
  }

  /** A failed instruction comes as an event, not as a rejection; an engine that dies just ends the stream. Only an image's id is success. */
  async build(request: BuildRequest, signal: AbortSignal, progress: (line: string) => void): Promise<Image> {
    const doing = `Cannot build ${request.reference}`
    const last: Array<string> = []
    try {
      const events = await this.#docker.buildImage(request.context, {
        t: request.reference,
        labels: { ...request.labels },
        ...(request.buildArgs === undefined ? {} : { buildargs: { ...request.buildArgs } }),
        ...(request.network === undefined ? {} : { networkmode: request.network }),
        rm: true,
        forcerm: true,
        abortSignal: signal
      })
      let id: string | undefined
      for await (const event of jsonLines<BuildEvent>(events)) {
        if (event.error !== undefined) throw buildFault(request.reference, event.error.trim(), last)
        id = event.aux?.ID ?? id
        for (const line of (event.stream ?? event.status ?? "").split("\n").map((text) => text.trimEnd()).filter((text) => text !== "")) {
          last.push(line)
          if (last.length > TAIL_LINES) last.shift()
          progress(line)
        }
      }
      const image = id === undefined ? undefined : await this.image(request.reference)
      if (image === undefined) throw new EngineFault("EngineGone", `${doing}: the Docker engine at ${this.at} ended the build without a word`, "See why it ended (journalctl -u docker), start it again, then run `hyper resume`; nothing was tagged.")
      return image
    } catch (cause) {
      throw faultOf(doing, this.at, cause)
    }
  }

  async image(reference: string): Promise<Image | undefined> {
    try {
      const { Config, Id, RootFS, Size } = await this.#docker.getImage(reference).inspect()
      return { id: Id, bytes: Size, labels: Config.Labels ?? {}, user: Config.User ?? "", healthCheck: Config.Healthcheck !== undefined, layers: RootFS?.Layers ?? [] }
    } catch (cause) {
      if (statusOf(cause) === 404) return undefined
      throw faultOf(`Cannot look at image ${reference}`, this.at, cause)
    }
  }

  async removeImage(reference: string): Promise<void> {
    await this.#docker.getImage(reference).remove({ force: true }).catch((cause: unknown) => statusOf(cause) === 404 || this.#fault(`Cannot remove image ${reference}`)(cause))
  }

  async create(spec: ContainerSpec): Promise<string> {
    const owner = identityOf(process.pid)
    const request = createRequest({ ...spec, labels: { ...spec.labels, ...(owner === undefined ? {} : { [LABEL.owner]: formatIdentity(owner) }) } })
    const { id } = await this.#docker.createContainer(request).catch(this.#fault(`Cannot create container ${spec.name}`))
    return id
  }

  async start(id: string, name: string): Promise<void> {
    await this.#docker.getContainer(id).start().catch(this.#fault(`Cannot start container ${name}`))
  }

  /** Before `start`, or what it says first is lost. */
  async attach(id: string, stdin: boolean): Promise<Attachment> {
    const stream = await this.#docker.getContainer(id).attach({ stream: true, stdin, stdout: true, stderr: true, hijack: true }).catch(this.#fault(`Cannot attach to container ${id.slice(0, 12)}`))
    return { stream: stream as unknown as Attachment["stream"], split: (out, err) => this.#docker.modem.demuxStream(stream, out, err) }
  }

  /**
   * Resolves as soon as the engine has taken note, with the wait itself. `next-exit` for one not started yet: the default would call
   * that one ended, with code 0. Not dockerode's `wait`: it never settles when the engine dies.
   */
  async wait(id: string, condition: "next-exit" | "not-running"): Promise<{ readonly ended: Promise<ContainerEnd> }> {
    const doing = `Cannot wait for container ${id.slice(0, 12)}`
    const response = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      this.#docker.modem.dial(
        { path: `/containers/${id}/wait?`, method: "POST", options: { _query: { condition }, _body: {} }, isStream: true, statusCodes: { 200: true, 400: "bad parameter", 404: "no such container", 500: "server error" } },
        (error: unknown, stream: unknown) => (error === null ? resolve(stream as NodeJS.ReadableStream) : reject(error as Error))
      )
    }).catch(this.#fault(doing))
    const ended = (async () => {
      try {
        for await (const end of jsonLines<{ readonly StatusCode: number; readonly Error?: { readonly Message?: string } | null }>(response)) {
          if (end.Error?.Message !== undefined && end.Error.Message !== "") throw new Error(end.Error.Message)
          return { exitCode: end.StatusCode, outOfMemory: await this.#outOfMemory(id, end.StatusCode) }
        }
        throw Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" })
      } catch (cause) {
        throw faultOf(doing, this.at, cause)
      }
    })()
    ended.catch(() => {}) // whoever awaits it is told
    return { ended }
  }

  /** The engine learns of the two by two ways, and the exit may be first: it is asked again for a moment, longer where something was killed. */
  async #outOfMemory(id: string, exitCode: number): Promise<boolean> {
    const until = Date.now() + (exitCode === 0 ? 0 : exitCode === 137 ? 1000 : 200)
    while (true) {
      const { State } = await this.#docker.getContainer(id).inspect()
      if (State.OOMKilled || Date.now() >= until) return State.OOMKilled
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async ended(id: string): Promise<ContainerEnd> {
    const { State } = await this.#docker.getContainer(id).inspect().catch(this.#fault(`Cannot look at container ${id.slice(0, 12)}`))
    return (await this.wait(id, State.Status === "created" ? "next-exit" : "not-running")).ended
  }

  async info(id: string): Promise<{ readonly state: string; readonly health?: string; readonly pid: number; readonly ports: Readonly<Record<string, number>> } | undefined> {
    try {
      const { NetworkSettings, State } = await this.#docker.getContainer(id).inspect()
      const ports = Object.entries(NetworkSettings.Ports ?? {}).flatMap(([port, hosts]) => (hosts?.[0]?.HostPort === undefined ? [] : [[port, Number(hosts[0].HostPort)] as const]))
      return { state: State.Status, ...(State.Health === undefined ? {} : { health: State.Health.Status }), pid: State.Pid, ports: Object.fromEntries(ports) }
    } catch (cause) {
      if (statusOf(cause) === 404) return undefined
      throw faultOf(`Cannot look at container ${id.slice(0, 12)}`, this.at, cause)
    }
  }

  async logs(id: string, lines: number): Promise<string> {
    const framed = await this.#docker.getContainer(id).logs({ follow: false, stdout: true, stderr: true, tail: lines }).catch(this.#fault(`Cannot read the output of container ${id.slice(0, 12)}`))
    // frames of 8 bytes (stream, 0, 0, 0, length) and content: Docker Engine API, ContainerAttach
    const bytes = Buffer.isBuffer(framed) ? framed : Buffer.from(framed as unknown as string, "latin1")
    const parts: Array<Buffer> = []
    for (let at = 0; at + 8 <= bytes.length;) {
      const size = bytes.readUInt32BE(at + 4)
      parts.push(bytes.subarray(at + 8, at + 8 + size))
      at += 8 + size
    }
    return Buffer.concat(parts).toString("utf8")
  }

  /** 304, 404 and 409: it has ended, or is gone. */
  async kill(id: string, signal = "SIGKILL"): Promise<void> {
    await this.#docker.getContainer(id).kill({ signal }).catch((cause: unknown) => [304, 404, 409].includes(statusOf(cause) ?? 0) || this.#fault(`Cannot end container ${id.slice(0, 12)}`)(cause))
  }

  /** 409: its removal is under way. */
  async remove(id: string): Promise<void> {
    await this.#docker.getContainer(id).remove({ force: true, v: true }).catch((cause: unknown) => [404, 409].includes(statusOf(cause) ?? 0) || this.#fault(`Cannot remove container ${id.slice(0, 12)}`)(cause))
  }

  async list(labels: Readonly<Record<string, string>>): Promise<ReadonlyArray<ContainerInfo>> {
    const wanted = Object.entries(labels).map(([name, value]) => `${name}=${value}`)
    const found = await this.#docker.listContainers({ all: true, ...(wanted.length === 0 ? {} : { filters: { label: wanted } }) }).catch(this.#fault("Cannot list containers"))
    return found.map(({ Id, Labels, Names, State }) => ({ id: Id, name: (Names[0] ?? "").replace(/^\//, ""), state: State, labels: Labels }))
  }

  async sweep(labels: Readonly<Record<string, string>>): Promise<ReadonlyArray<string>> {
    const orphans = (await this.list(labels)).filter((container) => {
      const owner = parseIdentity(container.labels[LABEL.owner] ?? "")
      return owner !== undefined && !isRunning(owner)
    })
    for (const { id } of orphans) await this.remove(id)
    return orphans.map(({ name }) => name)
  }
}
