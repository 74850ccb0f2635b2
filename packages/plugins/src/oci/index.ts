/** Packages a checkpoint as a CNCF ModelPack artifact in an OCI image layout below the home, and pushes it to a registry if told to; takes a base model from one. */
import type { SecretRef } from "@hypernode/engine/capability/Secrets"
import { use } from "@hypernode/engine/plugin/use"

export interface RegistryAccess {
  /** `secret("NAME")`, whose value is `user:password`; or `"docker"`: what `docker login` left on this machine. Default: none */
  readonly credentials?: SecretRef | "docker"
  /** plain http instead of https; default: only for a registry on this machine's loopback */
  readonly insecure?: boolean
}

export interface PushOptions extends RegistryAccess {
  /** `host[:port]/repository[:tag]`; default tag: the package's */
  readonly to: string
}

export interface OciOptions {
  /** lower-case, `[a-z0-9]` with `.`, `_`, `-` between; default: the pipeline's name */
  readonly name?: string
  /** default `latest` */
  readonly tag?: string
  /** on the manifest, beside ours; keys under `ai.hypernode.` are refused */
  readonly annotations?: Readonly<Record<string, string>>
  /** to an OCI registry, once the layout stands: blobs that are missing there, then the tag */
  readonly push?: PushOptions
}

export const oci = (options: OciOptions = {}) => use("package", { id: "oci", specifier: "@hypernode/plugins/oci" }, options)

export interface OciModelOptions extends RegistryAccess {
  /** a ModelPack artifact with raw layers: `host[:port]/repository[:tag]` (default tag `latest`; pinned to its digest when the step first runs) or `host[:port]/repository@sha256:<hex>` */
  readonly model: string
}

/** `p.select(ociModel({ model: "registry.example.com/team/base:1.0" }))`: a base model from an OCI registry. */
export const ociModel = (options: OciModelOptions) => use("select", { id: "oci", specifier: "@hypernode/plugins/oci" }, options)
