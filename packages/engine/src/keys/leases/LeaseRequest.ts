/** One request at the socket, held against the grant. Says why a lease does not hold; a wrong token learns nothing else. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import * as Schema from "effect/Schema"
import { decodeRecipient } from "../age/X25519.ts"
import type { GrantRecord } from "./LeaseFiles.ts"

const Request = Schema.Struct({
  v: Schema.Literal(1),
  token: Schema.String.check(Schema.isMaxLength(256)),
  slot: Schema.Int,
  recipient: Schema.String.check(Schema.isMaxLength(128))
})
const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Request))

export interface LeaseRequest {
  readonly slot: number
  readonly recipient: string
  readonly segments: ReadonlyArray<number>
}

export const tokenHash = (token: string): string => createHash("sha256").update(token).digest("hex")

/** Never stored: made again from the keyring's `lease` secret for the same (job, fencing token, slot). */
export const leaseToken = (secret: string, jobId: string, fencingToken: number, slot: number): string =>
  createHmac("sha256", Buffer.from(secret, "base64")).update(JSON.stringify([jobId, fencingToken, slot])).digest("base64url")

const equal = (a: string, b: string): boolean => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

export const checkRequest = (line: string, grant: GrantRecord, now: number): LeaseRequest | { readonly refusal: string } => {
  const decoded = decode(line)
  if (decoded._tag === "None") return { refusal: 'the request is not {"v":1,"token":...,"slot":...,"recipient":...}' }
  const { recipient, slot, token } = decoded.value
  const hash = tokenHash(token)
  const position = grant.shards.slots.findIndex((s) => s.slot === slot)
  const expected = grant.tokenHashes[position]
  if (expected === undefined || !equal(hash, expected)) {
    return { refusal: grant.retiredHashes.some((retired) => equal(hash, retired)) ? "a later grant for this job has replaced the lease" : "the token is not of this job and slot" }
  }
  if (grant.revoked) return { refusal: "the lease was revoked" }
  if (now >= grant.expiresAt) return { refusal: "the lease has expired" }
  try {
    decodeRecipient(recipient)
  } catch {
    return { refusal: "the recipient is not an age key (age1..., X25519)" }
  }
  return { slot, recipient, segments: grant.shards.slots[position]?.segments ?? [] }
}
