/**
 * What the engine tells the gateway: routes, hashed keys, quotas. Signed, so that only the owner of the home's keyring decides where
 * private requests go. The gateway imports this file, so nothing here loads effect.
 *
 * File: `{"payload": "<JSON text of GatewaySnapshot>", "signature": "<base64 ed25519 over the payload's UTF-8 bytes>"}`. The text itself
 * is signed, so both sides need no canonical form.
 */
import { createHash, createPublicKey, verify } from "node:crypto"

export const SNAPSHOT_FORMAT = 1

export interface GatewayRoute {
  /** endpoint id */
  readonly id: string
  readonly tenant: string
  /** model name that callers use */
  readonly model: string
  /** `http://127.0.0.1:<port>`, or `unix:<absolute path>` for a socket that only this user can open */
  readonly upstream: string
  readonly upstreamModel: string
  /** epoch seconds */
  readonly created: number
  /** requests at the upstream at one time; more wait */
  readonly concurrency: number
  /** requests that may wait; more are refused with 503 */
  readonly queue: number
}

export interface GatewayKey {
  /** lower-case hex SHA-256 of the API key */
  readonly hash: string
  /** first characters of the key, to recognise it by */
  readonly hint: string
  readonly tenant: string
  /** endpoint ids it may call, all of its own tenant */
  readonly endpoints: ReadonlyArray<string>
  readonly requestsPerMinute: number | null
  /** prompt and completion tokens per UTC day */
  readonly tokensPerDay: number | null
}

export interface GatewaySnapshot {
  readonly format: typeof SNAPSHOT_FORMAT
  /** grows by each change; the gateway refuses to go back */
  readonly version: number
  /** epoch milliseconds */
  readonly issuedAt: number
  readonly routes: ReadonlyArray<GatewayRoute>
  readonly keys: ReadonlyArray<GatewayKey>
}

export const keyHash = (key: string): string => createHash("sha256").update(key).digest("hex")

/** `hk-` and four characters: 24 of 256 bits. */
export const keyHint = (key: string): string => key.slice(0, 7)

const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex")

/** Throws an Error whose message says why the file is not to be trusted. `publicKey`: base64 of the raw 32 bytes. */
export const openSnapshot = (file: string, publicKey: string): GatewaySnapshot => {
  let signed: { payload?: unknown; signature?: unknown }
  try {
    signed = JSON.parse(file) as typeof signed
  } catch {
    throw new Error("it is not JSON")
  }
  if (typeof signed?.payload !== "string" || typeof signed.signature !== "string") throw new Error("it has no payload and signature")
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, Buffer.from(publicKey, "base64")]), format: "der", type: "spki" })
  if (!verify(null, Buffer.from(signed.payload), key, Buffer.from(signed.signature, "base64"))) {
    throw new Error("its signature is not by this home's gateway key")
  }
  const snapshot = JSON.parse(signed.payload) as GatewaySnapshot
  if (snapshot.format !== SNAPSHOT_FORMAT) throw new Error(`its format is ${String(snapshot.format)}, this gateway reads ${SNAPSHOT_FORMAT}`)
  if (!Number.isSafeInteger(snapshot.version) || !Array.isArray(snapshot.routes) || !Array.isArray(snapshot.keys)) throw new Error("its payload is incomplete")
  return snapshot
}
