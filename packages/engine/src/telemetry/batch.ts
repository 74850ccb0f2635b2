/**
 * Signed telemetry batches: made by the supervisor, verified by the store and by any auditor. Pure, node:crypto only: a supervisor
 * imports this file and must stay small, so nothing here loads effect.
 *
 * A job's batches form a chain: `sequence` counts from 0, `previous` is the digest of the batch before (`GENESIS` for the first).
 */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto"
import { canonicalJson } from "../artifact/canonicalJson.ts"
import type { Sample, SignedBatch } from "./Sample.ts"

/** `previous` of the first batch of a chain. */
export const GENESIS = `sha256:${"0".repeat(64)}`

/** What is signed. */
export interface BatchContent {
  readonly job: string
  /** base64 of the raw ed25519 public key */
  readonly node: string
  readonly sequence: number
  readonly previous: string
  readonly samples: ReadonlyArray<Sample>
}

/** Returns the base64 signature of `bytes`. */
export type Signer = (bytes: Uint8Array) => string

/** DER of an ed25519 SubjectPublicKeyInfo up to the key's 32 bytes (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex")

/** `sha256:<hex>` of the canonical JSON of {job, node, previous, samples, sequence}. */
export const batchDigest = ({ job, node, previous, samples, sequence }: BatchContent): string =>
  `sha256:${createHash("sha256").update(canonicalJson({ job, node, previous, samples, sequence })).digest("hex")}`

const rawDigest = (digest: string): Buffer => Buffer.from(digest.slice("sha256:".length), "hex")

/** Signs with an ed25519 private key (a KeyObject, or PKCS 8 PEM). Throws where the key is of another kind. */
export const signerOf = (key: KeyObject | string): Signer => {
  const privateKey = typeof key === "string" ? createPrivateKey(key) : key
  if (privateKey.asymmetricKeyType !== "ed25519") throw new Error(`Telemetry is signed with ed25519; this node's key is ${privateKey.asymmetricKeyType ?? "not a private key"}`)
  return (bytes) => sign(null, bytes, privateKey).toString("base64")
}

/** A node's identity: base64 of the raw 32-byte public key. Takes the private or the public key. */
export const nodeIdOf = (key: KeyObject | string): string => {
  const publicKey = typeof key === "string" || key.type === "private" ? createPublicKey(key) : key
  return publicKey.export({ format: "der", type: "spki" }).subarray(SPKI_PREFIX.length).toString("base64")
}

export const makeBatch = (content: BatchContent, signer: Signer): SignedBatch => {
  const digest = batchDigest(content)
  const { job, node, previous, samples, sequence } = content
  return { job, node, sequence, previous, samples, digest, signature: signer(rawDigest(digest)) }
}

/** Why a batch is refused; `remedy` is for the node's operator. */
export interface BatchFault {
  readonly reason: "malformed" | "digest" | "signature" | "gap" | "fork"
  readonly message: string
  readonly remedy: string
}

/** Where the chain stands: the last batch that was accepted. */
export interface ChainHead {
  readonly sequence: number
  readonly digest: string
}

const nameOf = (batch: { readonly job: string; readonly node: string; readonly sequence: number }): string =>
  `batch ${batch.sequence} of job ${batch.job} by node ${batch.node.slice(0, 12)}`

/**
 * Checks digest and signature; with `head` (`null`: nothing accepted yet) also that the batch is the chain's next one.
 * Undefined where it holds.
 */
export const verifyBatch = (batch: SignedBatch, head?: ChainHead | null): BatchFault | undefined => {
  const key = Buffer.from(batch.node, "base64")
  if (key.length !== 32 || key.toString("base64") !== batch.node) {
    return { reason: "malformed", message: `${nameOf(batch)}: node is not the base64 of a 32-byte ed25519 public key`, remedy: "Register the node again: its identity is its public key." }
  }
  if (batchDigest(batch) !== batch.digest) {
    return { reason: "digest", message: `${nameOf(batch)}: its content does not hash to ${batch.digest}`, remedy: "The batch was altered after it was made. Send the original line of batches.jsonl." }
  }
  const signature = Buffer.from(batch.signature, "base64")
  let signed = false
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, key]), format: "der", type: "spki" })
    signed = signature.length === 64 && verify(null, rawDigest(batch.digest), publicKey, signature)
  } catch {
    signed = false // a point that is not on the curve: node:crypto throws
  }
  if (!signed) {
    return { reason: "signature", message: `${nameOf(batch)}: the signature is not of that node's key`, remedy: "Sign with the key whose public half is the node's identity." }
  }
  if (head === undefined) return undefined
  const next = head === null ? 0 : head.sequence + 1
  const previous = head === null ? GENESIS : head.digest
  if (batch.sequence > next) {
    return { reason: "gap", message: `${nameOf(batch)}: the chain stands at ${next - 1}, so ${batch.sequence - next} batch(es) are missing before it`, remedy: `Send the batches from ${next} on, in order.` }
  }
  if (batch.sequence < next || batch.previous !== previous) {
    return { reason: "fork", message: `${nameOf(batch)}: follows ${batch.previous}, but the chain's batch ${next - 1} is ${previous}`, remedy: "A node keeps one chain a job. What followed the fork is not paid." }
  }
  return undefined
}
