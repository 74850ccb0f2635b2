/** Content digests: `sha256:<64 lower-case hex>`, the form of the OCI image-spec (descriptor.md). */
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"
import { canonicalJson } from "./canonicalJson.ts"

export const Digest = Schema.String.check(Schema.isPattern(/^sha256:[0-9a-f]{64}$/)).pipe(Schema.brand("Digest"))
export type Digest = typeof Digest.Type

export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest

export { canonicalJson }

export const digestOfJson = (value: unknown): Digest => digestOf(canonicalJson(value))
