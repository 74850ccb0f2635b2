/**
 * Packages a checkpoint as `oci` does, and makes a runnable image of it and our model server on this machine's Docker engine: not root,
 * nothing written outside /tmp, a health check, a layer for each file of weights. Needs an engine; where there is none, use `oci`.
 */
import { use } from "@hypernode/engine/plugin/use"

export interface OciImageOptions {
  /** of package and image; lower-case, `[a-z0-9]` with `.`, `_`, `-` between; default: the pipeline's name */
  readonly name?: string
  /** of the image; default: the first twelve digits of the package's digest, so that no image takes another's name */
  readonly tag?: string
  /**
   * The image to build on: one with Python ≥ 3.10 and pip. Default: `python:3.12-slim-bookworm`, pinned by digest. An image of your own
   * that has torch already makes `install` needless.
   */
  readonly base?: string
  /** install the server's pinned requirements while building (default). `false`: the base has them */
  readonly install?: boolean
  /** network of the installation: Docker's default, or `host`, `none` */
  readonly network?: string
  /** most tokens of one answer (default 1024) */
  readonly maxTokens?: number
  /** on the package's manifest; keys under `ai.hypernode.` are refused */
  readonly annotations?: Readonly<Record<string, string>>
}

export const ociImage = (options: OciImageOptions = {}) => use("package", { id: "oci-image", specifier: "@hypernode/plugins/oci-image" }, options)
