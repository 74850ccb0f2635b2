/** What crosses each stage boundary. All of it is JSON; bytes are behind ArtifactRef. */
import * as Schema from "effect/Schema"
import { ArtifactRef } from "../artifact/Artifact.ts"
import { Digest } from "../artifact/Digest.ts"

/** A base model: `tree` holds config.json, tokenizer files and *.safetensors; for one that only its own server can use, `ollama.json`. */
export const Model = Schema.Struct({
  name: Schema.String,
  /** where it came from: `hf:<repo>@<revision>`, `oci:<host>/<repository>@<digest>`, `ollama:<name>@<digest>` or `file:<name>`; never an absolute path */
  source: Schema.String,
  revision: Schema.String,
  tree: ArtifactRef,
  architecture: Schema.String,
  parameters: Schema.Int,
  license: Schema.optionalKey(Schema.String),
  /** of the weights; default safetensors. GGUF is made for serving: it can not be trained further. */
  format: Schema.optionalKey(Schema.Literals(["safetensors", "gguf"]))
})
export type Model = typeof Model.Type

export const DataFormat = Schema.Literals(["chat", "text"])

/** Private data as a reference: no plaintext artifact, no bare digest. */
export const SourceRef = Schema.Struct({
  name: Schema.String,
  /** absolute path or URL, known to the owner's machine only; kept out of provenance */
  uri: Schema.String,
  format: DataFormat,
  rows: Schema.Int,
  bytes: Schema.Int,
  /** HMAC-SHA-256 of the file under a random 32-byte salt that stays in the keyring */
  commitment: Schema.String,
  /** a second, fast tag under the same salt, bound to the commitment (dataset/sourceTag.ts): who reads the file again checks this one */
  tag: Schema.optionalKey(Schema.String),
  /** keyring name of the salt */
  saltKey: Schema.String
})
export type SourceRef = typeof SourceRef.Type

/** One age v1 file of whole records. */
export const Segment = Schema.Struct({
  index: Schema.Int,
  artifact: ArtifactRef,
  rows: Schema.Int,
  /** plaintext bytes */
  bytes: Schema.Int,
  /** present where a model was wired in */
  tokens: Schema.optionalKey(Schema.Int)
})
export type Segment = typeof Segment.Type

export const Sealed = Schema.Struct({
  /** keyring name of the data set's identity */
  keyId: Schema.String,
  recipients: Schema.Array(Schema.String),
  commitment: Schema.String,
  format: DataFormat,
  rows: Schema.Int,
  segments: Schema.Array(Segment)
})
export type Sealed = typeof Sealed.Type

/** Which worker slot opens which segments. Moves no bytes. */
export const Shards = Schema.Struct({
  sealed: Sealed,
  slots: Schema.Array(
    Schema.Struct({
      slot: Schema.Int,
      segments: Schema.Array(Schema.Int),
      rows: Schema.Int,
      bytes: Schema.Int,
      tokens: Schema.optionalKey(Schema.Int)
    })
  )
})
export type Shards = typeof Shards.Type

export const TrustTier = Schema.Literals(["sandboxed-container", "sandboxed-bubblewrap", "unsandboxed"])
export type TrustTier = typeof TrustTier.Type

export const TrainedCheckpoint = Schema.Struct({
  step: Schema.Int,
  epoch: Schema.Number,
  loss: Schema.Number,
  evalLoss: Schema.optionalKey(Schema.Number),
  /** weights or adapter with config and tokenizer, no optimizer state */
  tree: ArtifactRef
})
export type TrainedCheckpoint = typeof TrainedCheckpoint.Type

export const Trained = Schema.Struct({
  method: Schema.Literals(["full", "lora"]),
  base: Model,
  checkpoints: Schema.Array(TrainedCheckpoint),
  steps: Schema.Int,
  tokens: Schema.Int,
  firstLoss: Schema.Number,
  lastLoss: Schema.Number,
  /** wall seconds of the training loop, summed over attempts */
  seconds: Schema.Number,
  worldSize: Schema.Int,
  deviceClass: Schema.String,
  sandbox: Schema.Literals(["container", "bubblewrap", "none"]),
  trustTier: TrustTier,
  jobId: Schema.String,
  /** digest of the last signed telemetry batch */
  telemetryHead: Schema.String
})
export type Trained = typeof Trained.Type

/** A model ready to package: full weights (`merged` or `full`) or an adapter beside its base. */
export const Exported = Schema.Struct({
  base: Model,
  form: Schema.Literals(["full", "merged", "adapter"]),
  step: Schema.Int,
  loss: Schema.Number,
  evalLoss: Schema.optionalKey(Schema.Number),
  tree: ArtifactRef
})
export type Exported = typeof Exported.Type

export const Packaged = Schema.Struct({
  name: Schema.String,
  /** digest of the OCI manifest */
  digest: Digest,
  manifest: ArtifactRef,
  artifactType: Schema.String,
  /** path of the OCI layout below the home, `/`-separated */
  layout: Schema.String,
  size: Schema.Int,
  exported: Exported,
  /** where it was pushed to: `host/repository@sha256:…`, and the tag that was set there */
  pushed: Schema.optionalKey(Schema.Struct({ reference: Schema.String, tag: Schema.String })),
  /** a runnable image of it on this machine's container engine: its name, and the digest that the engine knows it by */
  image: Schema.optionalKey(Schema.Struct({ reference: Schema.String, id: Digest, size: Schema.Int }))
})
export type Packaged = typeof Packaged.Type

/** `packaged`: digest of what is served, the package's or the model tree's. */
export const Endpoint = Schema.Struct({
  id: Schema.String,
  /** OpenAI base URL, ends with /v1 */
  url: Schema.String,
  model: Schema.String,
  /** first characters of the API key, to recognise it by; the key itself is in the keyring under `keyId` */
  keyHint: Schema.String,
  keyId: Schema.String,
  packaged: Digest
})
export type Endpoint = typeof Endpoint.Type

export const Settlement = Schema.Struct({
  pool: Schema.String,
  /** base units as decimal strings: bigint does not survive JSON */
  poolUnits: Schema.String,
  accruedUnits: Schema.String,
  returnedUnits: Schema.String,
  policy: Schema.String,
  accruals: Schema.Array(
    Schema.Struct({ node: Schema.String, units: Schema.String, workMilliseconds: Schema.Int, reason: Schema.String })
  ),
  /** epoch milliseconds */
  unlocksAt: Schema.Int
})
export type Settlement = typeof Settlement.Type
