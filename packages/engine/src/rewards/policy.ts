/**
 * Reward policies: (pool, evidence) → whole base units by node. Pure integers. Every term is a sum over pieces of paid work, divided by
 * its total over all nodes: so the pool is paid out to the last unit, and splitting one machine's work over many identities changes
 * nothing but rounding (at most one unit an identity).
 */
import { isCpu } from "./cost.ts"
import type { NodeEvidence, Work } from "./Evidence.ts"
import { MAX_LATENCY } from "./Evidence.ts"
import { largestRemainder } from "./largestRemainder.ts"

export interface Term {
  readonly name: string
  /** per cent; a policy's terms add up to 100 */
  readonly weight: number
  readonly of: (node: NodeEvidence) => bigint
}

export interface Policy {
  readonly id: string
  readonly formula: string
  readonly terms: ReadonlyArray<Term>
}

export const policyIds = ["work-v1", "hypernode-v1"] as const
export type PolicyId = (typeof policyIds)[number]

/** Fixed with the policies' names: other weights are another policy. About the ratio of list prices when they were set. */
const GPU_WEIGHT = 40n
const classWeight = (deviceClass: string): bigint => (deviceClass === "unknown" || isCpu(deviceClass) ? 1n : GPU_WEIGHT)

const sum = (work: ReadonlyArray<Work>, of: (piece: Work) => bigint): bigint => work.reduce((all, piece) => all + of(piece), 0n)
const length = ({ interval }: Work): bigint => BigInt(interval.end - interval.begin)
const weighted = (piece: Work): bigint => length(piece) * classWeight(piece.deviceClass)

/** Device milliseconds, times the weight of the device's class. */
const weightedWork = (node: NodeEvidence): bigint => sum(node.work, weighted)

export const policies: Readonly<Record<PolicyId, Policy>> = {
  "work-v1": {
    id: "work-v1",
    formula: "pool × W / ΣW, where W = verified device milliseconds × class weight (CPU 1, GPU 40)",
    terms: [{ name: "verified work", weight: 100, of: weightedWork }]
  },
  /**
   * The network's published weights, with its formula corrected: there, (1 − L/Lmax) was not divided by its sum, so that 32 nodes were
   * paid 3.69 pools, and uptime and latency counted per identity, so that splitting paid. Here Lmax is a constant (a slow stranger lifts
   * nobody), uptime and latency are weighted by work, and each term is a share.
   */
  "hypernode-v1": {
    id: "hypernode-v1",
    formula: "pool × (0.50·W/ΣW + 0.25·T/ΣT + 0.15·(W·P)/Σ(W·P) + 0.10·Λ/ΣΛ), where W = verified device milliseconds × class weight, T = tokens, P = milliseconds present, Λ = Σ work × (60 s − latency)",
    terms: [
      { name: "GPU time", weight: 50, of: weightedWork },
      { name: "throughput", weight: 25, of: (node) => sum(node.work, (piece) => BigInt(piece.tokens)) },
      { name: "uptime", weight: 15, of: (node) => weightedWork(node) * BigInt(node.presenceMilliseconds) },
      { name: "latency", weight: 10, of: (node) => sum(node.work, (piece) => weighted(piece) * BigInt(MAX_LATENCY - piece.latency)) }
    ]
  }
}

export interface TermShare {
  readonly name: string
  /** of 1 */
  readonly weight: number
  readonly mine: bigint
  readonly all: bigint
  /** this term's part of the node's units */
  readonly units: bigint
}

export interface Share {
  readonly node: string
  readonly units: bigint
  readonly terms: ReadonlyArray<TermShare>
}

export interface Allocation {
  /** one entry a node with evidence, sorted by node; zero units where it did no work */
  readonly shares: ReadonlyArray<Share>
  /** the whole pool where there is work, else 0 */
  readonly accrued: bigint
  readonly returned: bigint
}

/** Every node appears once in `evidence`. */
export const allocate = (policy: Policy, pool: bigint, evidence: ReadonlyArray<NodeEvidence>): Allocation => {
  const nodes = evidence.toSorted((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : 0))
  const columns = policy.terms.map((term) => {
    const values = nodes.map(term.of)
    const all = values.reduce((total, value) => total + value, 0n)
    if (all > 0n) return { term, values, all }
    // nobody scored (no tokens were counted, say): work decides this term too, and the pool is still paid out
    const work = nodes.map(weightedWork)
    return { term, values: work, all: work.reduce((total, value) => total + value, 0n) }
  })
  const paid = columns.every(({ all }) => all > 0n)
  const product = columns.reduce((total, { all }) => total * all, 1n)
  /** numerator of one term's share over the common denominator 100 × Π totals */
  const part = (column: (typeof columns)[number], i: number): bigint =>
    paid ? BigInt(column.term.weight) * (column.values[i] ?? 0n) * (product / column.all) : 0n
  const units = largestRemainder(pool, nodes.map(({ node }, i) => ({ key: node, weight: columns.reduce((total, column) => total + part(column, i), 0n) })))
  return {
    shares: nodes.map(({ node }, i) => {
      const mine = units.get(node) ?? 0n
      const split = largestRemainder(mine, columns.map((column) => ({ key: column.term.name, weight: part(column, i) })))
      return {
        node,
        units: mine,
        terms: columns.map(({ all, term, values }) => ({ name: term.name, weight: term.weight / 100, mine: values[i] ?? 0n, all, units: split.get(term.name) ?? 0n }))
      }
    }),
    accrued: paid ? pool : 0n,
    returned: paid ? 0n : pool
  }
}
