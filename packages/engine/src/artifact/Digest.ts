/** Content digests: `sha256:<64 lower-case hex>`, the form of the OCI image-spec (descriptor.md). */
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"

export const Digest = Schema.String.check(Schema.isPattern(/^sha256:[0-9a-f]{64}$/)).pipe(Schema.brand("Digest"))
export type Digest = typeof Digest.Type

export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest

/** JSON with sorted keys and no white space (RFC 8785 for the values we store: no floats that need care beyond JS's own). */
export const canonicalJson = (value: unknown): string => {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`
  const entries = Object.entries(value).filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(",")}}`
}

export const digestOfJson = (value: unknown): Digest => digestOf(canonicalJson(value))
