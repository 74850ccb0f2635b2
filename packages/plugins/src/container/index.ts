/**
 * Serves a package in a container behind the gateway: the image that `ociImage` made, or any image whose server speaks OpenAI's words and
 * answers `GET /health`. Confined: no capability, read-only root, not root, and without a network where the image is ours.
 */
import { use } from "@hypernode/engine/plugin/use"

export interface ContainerOptions {
  /** another image than the package's own; the package's model is then mounted read-only at /model (and /adapter, /tokenizer) */
  readonly image?: string
  /** arguments in place of the image's own: `["--model", "/model"]` */
  readonly command?: ReadonlyArray<string>
  /** where the server in the image listens; published on a free port of 127.0.0.1. Needed with `image`, and only there: ours listens on a socket */
  readonly port?: number
  /** of an image with a port: `bridge` (default), a network of the engine's, or `host`, where the server's port is this machine's */
  readonly network?: string
  /** model name that callers send; default: the package's name */
  readonly name?: string
  /** model name that the server in the image knows; default: `name` */
  readonly model?: string
  /** false: the image serves /v1/completions only */
  readonly chat?: boolean
  /** memory limit in MiB; default: most of the machine's */
  readonly memory?: number
  /** GPUs by the engine's NVIDIA runtime */
  readonly gpus?: number | "all"
  /** `uid:gid`; root is refused */
  readonly user?: string
  /** settings of the server in the image. No secrets: they are in the plan */
  readonly env?: Readonly<Record<string, string>>
  /** directories of this machine to read, at the same path: a Python environment, a cache */
  readonly mounts?: ReadonlyArray<string>
  /** how long it may take until it answers (default 900) */
  readonly readySeconds?: number
}

export const container = (options: ContainerOptions = {}) => use("serve", { id: "container", specifier: "@hypernode/plugins/container" }, options)
