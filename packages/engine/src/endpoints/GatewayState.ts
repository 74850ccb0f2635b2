/** Files in `<home>/gateway` (mode 0700) that engine and gateway share. No effect: the gateway imports it. */
import { join } from "node:path"
import type { ProcessIdentity } from "../jobs/ProcessIdentity.ts"

/** `gateway.json`, written by the gateway once it listens. */
export interface GatewayState extends ProcessIdentity {
  /** random, made at the gateway's first start in this directory; with a sequence number it names one usage record for ever */
  readonly gateway: string
  readonly port: number
}

export const gatewayFiles = (directory: string) => ({
  state: join(directory, "gateway.json"),
  lock: join(directory, "gateway.lock"),
  id: join(directory, "gateway.id"),
  /** base64 ed25519 key that snapshots must be signed by; written by the engine before the first start, never changed */
  publicKey: join(directory, "gateway.pub"),
  snapshot: join(directory, "snapshot.json"),
  /** last snapshot that was accepted: what a restart falls back to, and whose version it does not go below */
  accepted: join(directory, "accepted.json"),
  /** a directory of its own: the gateway watches the one above, and should not wake at each record */
  usageDirectory: join(directory, "usage"),
  usage: join(directory, "usage", "usage.jsonl"),
  log: join(directory, "gateway.log")
})

/** One line of `usage.jsonl`, and of `usage.<sequence>.jsonl` after it has grown. No content of any request. */
export interface UsageRecord {
  readonly gateway: string
  readonly sequence: number
  /** epoch milliseconds at the end of the request */
  readonly at: number
  readonly endpoint: string
  readonly tenant: string
  readonly key: string
  readonly operation: "chat.completions" | "completions" | "embeddings"
  readonly promptTokens: number
  readonly completionTokens: number
  /** true where the upstream gave no usage, and stream chunks were counted instead */
  readonly estimated: boolean
  readonly milliseconds: number
  /** what the caller got; 499: it went away */
  readonly status: number
}
