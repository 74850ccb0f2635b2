/** Why a node earned what it earned, in words and numbers. Pure. */
import { formatAmount } from "./amount.ts"
import { isCpu } from "./cost.ts"
import type { NodeEvidence, Rejection } from "./Evidence.ts"
import type { Explanation } from "./Ledger.ts"
import type { Allocation } from "./policy.ts"

const deviceWord = (evidence: ReadonlyArray<NodeEvidence>): string => {
  const classes = new Set(evidence.flatMap(({ work }) => work.map(({ deviceClass }) => (deviceClass === "unknown" ? "device" : isCpu(deviceClass) ? "CPU" : "GPU"))))
  return classes.size === 1 ? [...classes][0] ?? "device" : "device"
}

/** `2,566 of 8,374 verified GPU seconds`; a tenth of a second where there are few. */
export const workWords = (node: NodeEvidence, evidence: ReadonlyArray<NodeEvidence>): string => {
  const all = evidence.reduce((sum, { workMilliseconds }) => sum + workMilliseconds, 0)
  const seconds = (milliseconds: number): string => (milliseconds / 1000).toLocaleString("en-US", { maximumFractionDigits: all < 100_000 ? 1 : 0 })
  return `${seconds(node.workMilliseconds)} of ${seconds(all)} verified ${deviceWord(evidence)} seconds`
}

/** One line for a settlement: the work, or why there was none. */
export const reasonOf = (node: NodeEvidence, evidence: ReadonlyArray<NodeEvidence>): string => {
  const [first] = node.rejected
  return node.workMilliseconds > 0 || first === undefined ? workWords(node, evidence) : `nothing counted: each sample ${first.reason}`
}

export interface PoolToExplain {
  readonly units: bigint
  readonly evidence: ReadonlyArray<NodeEvidence>
  readonly allocation: Allocation
  readonly settled: boolean
  /** epoch milliseconds */
  readonly unlocksAt: number
  /** of lines that never became batches, and of batches that came too late, by node */
  readonly further: ReadonlyMap<string, ReadonlyArray<Rejection>>
}

const sentence = (pool: PoolToExplain, units: bigint, node: NodeEvidence, rejected: ReadonlyArray<Rejection>): string => {
  const of = `of ${formatAmount(pool.units)} HYPER`
  if (units > 0n) return `${pool.settled ? "You earned" : "Not settled yet. As things stand you earn"} ${formatAmount(units)} ${of}: ${workWords(node, pool.evidence)}`
  const [first] = rejected
  if (node.workMilliseconds > 0 || first === undefined) return `You earned nothing ${of}: ${workWords(node, pool.evidence)}`
  return `You earned nothing ${of}: each sample ${first.reason}. ${first.remedy}`
}

/** One entry a node that was heard of. */
export const explainPool = (pool: PoolToExplain): ReadonlyArray<Explanation> =>
  pool.evidence.map((node) => {
    const share = pool.allocation.shares.find((entry) => entry.node === node.node)
    const rejected = [...node.rejected, ...(pool.further.get(node.node) ?? [])]
    return {
      sentence: sentence(pool, share?.units ?? 0n, node, rejected),
      node: node.node,
      terms: (share?.terms ?? []).map(({ all, mine, name, units, weight }) => ({ name, weight, mine: Number(mine), all: Number(all), units: units.toString() })),
      samples: { accepted: node.accepted, rejected },
      batches: node.batches,
      unlocksAt: pool.unlocksAt
    }
  })
