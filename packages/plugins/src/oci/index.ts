/** Packages a checkpoint as a CNCF ModelPack artifact in an OCI image layout below the home. No daemon, no registry, reproducible digest. */
import { use } from "@hypernode/engine/plugin/use"

export interface OciOptions {
  /** lower-case, `[a-z0-9]` with `.`, `_`, `-` between; default: the pipeline's name */
  readonly name?: string
  /** default `latest` */
  readonly tag?: string
  /** on the manifest, beside ours; keys under `ai.hypernode.` are refused */
  readonly annotations?: Readonly<Record<string, string>>
}

export const oci = (options: OciOptions = {}) => use("package", { id: "oci", specifier: "@hypernode/plugins/oci" }, options)
