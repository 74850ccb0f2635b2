/**
 * Which wallet a node is paid to, said by the node itself: ed25519 by its key over the canonical JSON of {address, node, purpose, rail,
 * sequence}. Checked whenever it is used, so that a changed row of the database pays nobody. Pure.
 */
import { createPublicKey, verify } from "node:crypto"
import { canonicalJson } from "../../artifact/canonicalJson.ts"

export interface AddressStatement {
  /** base64 of the raw ed25519 public key */
  readonly node: string
  readonly rail: string
  readonly address: string
  /** 1 for the first; the highest counts, so that an old statement cannot be played again */
  readonly sequence: number
}

export const statementBytes = ({ address, node, rail, sequence }: AddressStatement): Uint8Array =>
  new TextEncoder().encode(canonicalJson({ address, node, purpose: "hypernode-payout-address-v1", rail, sequence }))

/** `signature`: base64. */
export const bindingHolds = (statement: AddressStatement, signature: string): boolean => {
  const key = Buffer.from(statement.node, "base64")
  if (key.length !== 32 || key.toString("base64") !== statement.node) return false
  try {
    const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: key.toString("base64url") }, format: "jwk" })
    return verify(null, statementBytes(statement), publicKey, Buffer.from(signature, "base64"))
  } catch {
    return false // a point that is not on the curve
  }
}
