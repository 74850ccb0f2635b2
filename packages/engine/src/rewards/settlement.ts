/** The settlement of one pool: a pure function of terms, basis and batches. The ledger books it; an auditor recomputes it. */
import type { Settlement } from "../stage/values.ts"
import { formatExact } from "./amount.ts"
import { type Basis, evidenceOf, type NodeEvidence, type ReceivedBatch } from "./Evidence.ts"
import { reasonOf } from "./explain.ts"
import { allocate, type Allocation, policies, type Policy, type PolicyId } from "./policy.ts"

export const policyOf = (id: string): Policy | undefined => (Object.hasOwn(policies, id) ? policies[id as PolicyId] : undefined)

export interface Computed {
  readonly evidence: ReadonlyArray<NodeEvidence>
  readonly allocation: Allocation
}

export const compute = (policy: Policy, units: bigint, basis: Basis, batches: ReadonlyArray<ReceivedBatch>): Computed => {
  const evidence = evidenceOf(batches, basis)
  return { evidence, allocation: allocate(policy, units, evidence) }
}

export const settlementOf = (policy: Policy, units: bigint, { allocation, evidence }: Computed, unlocksAt: number): Settlement => ({
  pool: formatExact(units),
  poolUnits: units.toString(),
  accruedUnits: allocation.accrued.toString(),
  returnedUnits: allocation.returned.toString(),
  policy: policy.id,
  accruals: allocation.shares.map(({ node, units: earned }, i) => {
    const mine = evidence[i] as NodeEvidence // both are sorted by node
    return { node, units: earned.toString(), workMilliseconds: mine.workMilliseconds, reason: reasonOf(mine, evidence) }
  }),
  unlocksAt
})
