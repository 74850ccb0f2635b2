/**
 * What each node is paid for: signed batches in, measured work out, with a reason and a remedy for all that does not count. Pure: a
 * function of the set of batches; neither their order nor how often one is given matters. An auditor runs the same code.
 */
import type { BatchFault } from "../telemetry/batch.ts"
import type { Sample, SignedBatch } from "../telemetry/Sample.ts"
import { verifyChains } from "../telemetry/chains.ts"
import { creditRank, type Interval, lengthOfUnion } from "./intervals.ts"

/** A batch and when it reached the store (epoch milliseconds). */
export interface ReceivedBatch {
  readonly receivedAt: number
  readonly batch: SignedBatch
}

/** Work that does not count although it is well signed: a verdict, an endpoint that did not answer. */
export interface Exclusion {
  readonly job?: string
  readonly node?: string
  readonly reason: string
  readonly remedy: string
}

/** All that decides besides the batches. */
export interface Basis {
  /** epoch milliseconds: nothing is paid for time before it */
  readonly openedAt: number
  /** by job; a job that is not named is of class `unknown` */
  readonly deviceClasses: Readonly<Record<string, string>>
  readonly exclusions: ReadonlyArray<Exclusion>
}

export interface Rejection {
  readonly reason: string
  readonly remedy: string
  readonly count: number
}

/** One piece of paid time. */
export interface Work {
  readonly job: string
  readonly deviceClass: string
  readonly interval: Interval
  readonly tokens: number
  /** milliseconds from the sample to the store, at most MAX_LATENCY */
  readonly latency: number
}

export interface NodeEvidence {
  readonly node: string
  readonly work: ReadonlyArray<Work>
  /** sum over `work` */
  readonly workMilliseconds: number
  /** union of `work`: two ranks at once are present once */
  readonly presenceMilliseconds: number
  readonly accepted: number
  readonly rejected: ReadonlyArray<Rejection>
  /** digests of the batches that count, in chain order */
  readonly batches: ReadonlyArray<string>
}

export const MAX_LATENCY = 60_000
/** A clock that is ahead by more is refused. */
const CLOCK_TOLERANCE = 60_000

const reasons = {
  overlap: { reason: "claims more device time than passed", remedy: "Report each rank's busy time since its last sample, once; check the node's clock." },
  future: { reason: "is dated after it arrived", remedy: "Set the node's clock (NTP), then report again." },
  negative: { reason: "reports negative work", remedy: "Report workMilliseconds as a count since the last sample." },
  zero: { reason: "reports no work", remedy: "The node was heard, but its device was never busy: check that the worker got data and a device." }
} as const

/** Why the store, or an auditor, did not take a batch. */
export const faultReasons: Readonly<Record<BatchFault["reason"], string>> = {
  malformed: "is in a malformed batch",
  digest: "is in a batch that was altered",
  signature: "is not signed by this node",
  gap: "follows a batch that never arrived",
  fork: "is in a batch that contradicts the chain"
}

type Dated = { readonly sample: Sample; readonly receivedAt: number; readonly job: string }

/** The ledger of one node's samples: what counts, and what does not, by reason. */
class Tally {
  readonly work: Array<Work> = []
  readonly batches: Array<string> = []
  readonly rejected = new Map<string, Rejection>()
  accepted = 0
  /** samples that claim work, by job and rank */
  readonly claims = new Map<string, Array<Dated>>()

  reject({ reason, remedy }: { readonly reason: string; readonly remedy: string }, count = 1): void {
    this.rejected.set(reason, { reason, remedy, count: (this.rejected.get(reason)?.count ?? 0) + count })
  }
}

const claim = (tally: Tally, { batch, receivedAt }: ReceivedBatch): void => {
  for (const sample of batch.samples) {
    const work = sample.workMilliseconds ?? 0
    if (work < 0 || (sample.tokens ?? 0) < 0) tally.reject(reasons.negative)
    else if (work === 0) continue // steps, phases and evaluations claim nothing
    else if (sample.at > receivedAt + CLOCK_TOLERANCE) tally.reject(reasons.future)
    else {
      const key = `${batch.job}\n${sample.rank}`
      const claims = tally.claims.get(key)
      if (claims === undefined) tally.claims.set(key, [{ sample, receivedAt, job: batch.job }])
      else claims.push({ sample, receivedAt, job: batch.job })
    }
  }
}

const credit = (tally: Tally, basis: Basis): void => {
  for (const claims of tally.claims.values()) {
    const sorted = claims.toSorted((a, b) => a.sample.at - b.sample.at || (a.sample.workMilliseconds ?? 0) - (b.sample.workMilliseconds ?? 0))
    for (const [i, { excess, interval }] of creditRank(sorted.map(({ sample }) => ({ at: sample.at, claimed: sample.workMilliseconds ?? 0 })), basis.openedAt).entries()) {
      const { job, receivedAt, sample } = sorted[i] as Dated
      if (excess) tally.reject(reasons.overlap)
      const credited = interval.end - interval.begin
      if (credited === 0) continue
      tally.accepted++
      tally.work.push({
        job,
        deviceClass: basis.deviceClasses[job] ?? "unknown",
        interval,
        tokens: Math.floor(((sample.tokens ?? 0) * credited) / (sample.workMilliseconds ?? credited)),
        latency: Math.min(MAX_LATENCY, Math.max(0, receivedAt - sample.at))
      })
    }
  }
}

/** One entry a node that was heard of, sorted by node. */
export const evidenceOf = (received: ReadonlyArray<ReceivedBatch>, basis: Basis): ReadonlyArray<NodeEvidence> => {
  const tallies = new Map<string, Tally>()
  const tallyOf = (node: string): Tally => {
    const tally = tallies.get(node) ?? new Tally()
    tallies.set(node, tally)
    return tally
  }
  const { accepted, refused } = verifyChains(received)
  for (const { entry, fault } of refused) tallyOf(entry.batch.node).reject({ reason: faultReasons[fault.reason], remedy: fault.remedy }, Math.max(1, entry.batch.samples.length))
  for (const entry of accepted) {
    const { batch } = entry
    const tally = tallyOf(batch.node)
    const exclusion = basis.exclusions.find(({ job, node }) => (job !== undefined || node !== undefined) && (job === undefined || job === batch.job) && (node === undefined || node === batch.node))
    if (exclusion !== undefined) {
      tally.reject(exclusion, batch.samples.filter((sample) => (sample.workMilliseconds ?? 0) !== 0).length)
      continue
    }
    tally.batches.push(batch.digest)
    claim(tally, entry)
  }
  return [...tallies].sort(([a], [b]) => (a < b ? -1 : 1)).map(([node, tally]) => {
    credit(tally, basis)
    if (tally.accepted === 0 && tally.rejected.size === 0) tally.reject(reasons.zero)
    return {
      node,
      work: tally.work,
      workMilliseconds: tally.work.reduce((sum, { interval }) => sum + interval.end - interval.begin, 0),
      presenceMilliseconds: lengthOfUnion(tally.work.map(({ interval }) => interval)),
      accepted: tally.accepted,
      rejected: [...tally.rejected.values()].filter(({ count }) => count > 0).sort((a, b) => (a.reason < b.reason ? -1 : 1)),
      batches: tally.batches
    }
  })
}
