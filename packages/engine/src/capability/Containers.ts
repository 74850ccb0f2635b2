/**
 * Containers on this machine's Docker engine. Everything made carries labels that tie it to its home, run and step, so that what a crash
 * leaves behind is found again and removed.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const ContainerReason = Schema.Literals([
  "NoEngine", // nothing answers at the engine's socket
  "Denied", // it may not be opened by this user
  "EngineGone", // it answered, and stopped to
  "BuildFailed", // an instruction of the build failed
  "NotFound", // image or container is not there
  "NoGpu", // the engine cannot hand out GPUs
  "OutOfSpace", // the engine's disk is full
  "Refused" // anything else that the engine does not do
])
export type ContainerReason = typeof ContainerReason.Type

export class ContainerFailure extends Schema.TaggedError<ContainerFailure>()("ContainerFailure", { reason: ContainerReason, message: Schema.String, remedy: Schema.String }) {}

export interface EngineFacts {
  /** of the engine, such as "20.10.24" */
  readonly version: string
  readonly storageDriver: string
  /** bytes */
  readonly memory: number
  /** it can hand NVIDIA GPUs to containers */
  readonly gpus: boolean
  /** its containers' users are other users on the host (rootless, or user namespaces) */
  readonly remapped: boolean
  /** on this machine: its bind mounts are this machine's directories */
  readonly local: boolean
}

export interface Image {
  /** sha256:… of the image's configuration */
  readonly id: string
  readonly bytes: number
  readonly labels: Readonly<Record<string, string>>
  readonly user: string
  readonly healthCheck: boolean
  /** digests of the uncompressed layers, lowest first */
  readonly layers: ReadonlyArray<string>
}

/** One file of a build's context. Times, owners and modes are fixed, so that the engine's cache sees content and nothing else. */
export type ContextEntry =
  | { readonly path: string; readonly content: string | Uint8Array; readonly executable?: boolean }
  /** read while it is sent: never whole in memory */
  | { readonly path: string; readonly file: string; readonly size: number; readonly executable?: boolean }
  | { readonly path: string; readonly link: string }
  /** an empty directory of this mode */
  | { readonly path: string; readonly mode: number }

export interface BuildSpec {
  /** `name:tag`, moved only when the build has succeeded */
  readonly reference: string
  readonly dockerfile: string
  readonly context: ReadonlyArray<ContextEntry>
  readonly labels: Readonly<Record<string, string>>
  readonly buildArgs?: Readonly<Record<string, string>>
  /** of RUN instructions: `none`, `host`; default: the engine's */
  readonly network?: string
}

export interface ContainerMount {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
}

export interface ContainerSpec {
  readonly name: string
  readonly image: string
  readonly labels: Readonly<Record<string, string>>
  readonly entrypoint?: ReadonlyArray<string>
  readonly command?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  readonly workingDirectory?: string
  /** `uid:gid`, never root: without a remap the engine's root is the host's */
  readonly user?: string
  readonly hostname?: string
  /** `none`, `bridge`, ... */
  readonly network: string
  readonly mounts: ReadonlyArray<ContainerMount>
  /** path → size in bytes; noexec, nosuid, nodev, in memory only */
  readonly tmpfs: Readonly<Record<string, number>>
  readonly readOnlyRoot: boolean
  /** bytes; swap is not added to it */
  readonly memory?: number
  readonly pids: number
  /** bytes of /dev/shm */
  readonly sharedMemory?: number
  /** how many, or all; by the engine's NVIDIA runtime */
  readonly gpus?: number | "all"
  /** device nodes of the host, as they are */
  readonly devices?: ReadonlyArray<string>
  /** container port → port on 127.0.0.1 (0: any that is free) */
  readonly ports?: Readonly<Record<number, number>>
  /** standard input is given by whoever attaches, once */
  readonly stdin?: boolean
  /** the engine keeps the output (json-file, bounded). Without it nothing of it is written to the engine's disk. */
  readonly keepLogs: boolean
}

export interface ContainerEnd {
  readonly exitCode: number
  /** the kernel ended a process in it for lack of memory; the exit code may be 0 all the same */
  readonly outOfMemory: boolean
}

/**
 * Ends that look alike from an exit code. `memory`: the kernel says so (a limit of the container, or of the machine). `disk`: its last words
 * are the system's words for it; nobody else knows. `exit`: its own doing. `done`: code 0, also where a process in it was ended for lack of
 * memory and it went on.
 */
export type WhyEnded = "done" | "exit" | "memory" | "disk"

export interface ContainerInfo {
  readonly id: string
  readonly name: string
  /** created, running, exited, dead, ... */
  readonly state: string
  readonly labels: Readonly<Record<string, string>>
}

export class Containers extends Context.Service<
  Containers,
  {
    readonly engine: Effect.Effect<EngineFacts, ContainerFailure>
    /** `progress` gets the engine's lines. Interrupting it ends the build. */
    readonly build: (spec: BuildSpec, progress?: (line: string) => void) => Effect.Effect<Image, ContainerFailure>
    readonly image: (reference: string) => Effect.Effect<Image | undefined, ContainerFailure>
    readonly removeImage: (reference: string) => Effect.Effect<void, ContainerFailure>
    /** Created and started; the id. What was created is removed again where it does not start. It is this process's: see `sweep`. */
    readonly start: (spec: ContainerSpec) => Effect.Effect<string, ContainerFailure>
    readonly ended: (id: string) => Effect.Effect<ContainerEnd, ContainerFailure>
    /** Started, awaited and removed, whatever happens. `output`: its last 64 KiB. */
    readonly run: (spec: ContainerSpec) => Effect.Effect<ContainerEnd & { readonly why: WhyEnded; readonly output: string }, ContainerFailure>
    /** The last `lines` of standard output and error together. */
    readonly logs: (id: string, lines: number) => Effect.Effect<string, ContainerFailure>
    /** Idempotent. Default SIGKILL. */
    readonly kill: (id: string, signal?: string) => Effect.Effect<void, ContainerFailure>
    /** Idempotent; ends it first. */
    readonly remove: (id: string) => Effect.Effect<void, ContainerFailure>
    readonly list: (labels: Readonly<Record<string, string>>) => Effect.Effect<ReadonlyArray<ContainerInfo>, ContainerFailure>
    /** Removes containers with these labels whose maker is gone: a process that was killed, or the machine restarted. Their names. */
    readonly sweep: (labels: Readonly<Record<string, string>>) => Effect.Effect<ReadonlyArray<string>, ContainerFailure>
  }
>()("@hypernode/engine/capability/Containers") {}
