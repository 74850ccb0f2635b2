/**
 * Releases segment keys to workers. A worker makes an X25519 key in memory and sends its public half over the job's lease socket;
 * where its lease holds, it gets the age headers of its own segments re-wrapped to that key. Payload bytes are untouched.
 *
 * Socket protocol: newline-delimited JSON over a Unix socket, one request a connection.
 *   -> {"v":1,"token":"<lease token>","slot":0,"recipient":"age1..."}
 *   <- {"v":1,"segments":[{"index":0,"header":"<base64 of the new age header, up to and including the MAC line's newline>","payloadOffset":<bytes to skip in the segment file>}]}
 *   <- {"v":1,"error":"..."} and close, where the lease does not hold
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Shards } from "../stage/values.ts"

export class LeaseError extends Schema.TaggedError<LeaseError>()("LeaseError", { message: Schema.String }) {}

export interface LeaseGrant {
  readonly jobId: string
  readonly runId: string
  readonly node: string
  readonly shards: Shards
  /** epoch milliseconds */
  readonly expiresAt: number
  /** a later grant for the same job has a higher token; releases under a lower one are refused */
  readonly fencingToken: number
}

export class Leases extends Context.Service<
  Leases,
  {
    /** Path of the Unix socket, and one opaque token per slot (handed to the worker by stdin, never by argv or environment). Idempotent on (job, fencing token). */
    readonly grant: (grant: LeaseGrant) => Effect.Effect<{ readonly socket: string; readonly tokens: ReadonlyArray<string> }, LeaseError>
    readonly revoke: (jobId: string) => Effect.Effect<void, LeaseError>
    /** Re-opens the sockets of every live grant after a daemon restart. */
    readonly restore: Effect.Effect<void, LeaseError>
    /** The signed, hash-chained log of releases; fails where the chain is broken. */
    readonly releases: (jobId: string) => Effect.Effect<ReadonlyArray<{ readonly at: number; readonly slot: number; readonly segments: ReadonlyArray<number>; readonly recipient: string }>, LeaseError>
  }
>()("@hypernode/engine/keys/Leases") {}
