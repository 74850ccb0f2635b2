/** Signed batches of made-up nodes. */
import { generateKeyPairSync } from "node:crypto"
import type { ReceivedBatch } from "../../src/rewards/Evidence.ts"
import { GENESIS, makeBatch, nodeIdOf, signerOf } from "../../src/telemetry/batch.ts"
import type { Sample, SignedBatch } from "../../src/telemetry/Sample.ts"

export interface TestNode {
  readonly id: string
  /** the next batch of this node's chain for `job` */
  readonly batch: (samples: ReadonlyArray<Sample>, job?: string) => SignedBatch
  /** signs any content, chain or not */
  readonly forge: (content: Partial<Omit<SignedBatch, "digest" | "signature">>) => SignedBatch
}

export const testNode = (): TestNode => {
  const { privateKey } = generateKeyPairSync("ed25519")
  const id = nodeIdOf(privateKey)
  const sign = signerOf(privateKey)
  const heads = new Map<string, { sequence: number; digest: string }>()
  return {
    id,
    batch: (samples, job = "job-1") => {
      const head = heads.get(job)
      const batch = makeBatch({ job, node: id, sequence: head === undefined ? 0 : head.sequence + 1, previous: head?.digest ?? GENESIS, samples }, sign)
      heads.set(job, batch)
      return batch
    },
    forge: (content) => makeBatch({ job: "job-1", node: id, sequence: 0, previous: GENESIS, samples: [], ...content }, sign)
  }
}

export const START = 1_700_000_000_000
/** `seconds` after START a rank reports so many milliseconds of work. */
export const work = (seconds: number, workMilliseconds: number, more: Partial<Sample> = {}): Sample => ({ at: START + seconds * 1000, rank: 0, kind: "work", step: 1, tokens: workMilliseconds, workMilliseconds, ...more })
export const received = (batch: SignedBatch): ReceivedBatch => ({ receivedAt: Math.max(START, ...batch.samples.map(({ at }) => at)) + 500, batch })
