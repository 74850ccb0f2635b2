/** Recomputes an epoch from its export: signatures, chains, evidence, policy, amounts. Needs nothing but the file. Pure. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Settlement } from "../stage/values.ts"
import { Epoch } from "./Epoch.ts"
import { compute, policyOf, settlementOf } from "./settlement.ts"

export interface Audit {
  readonly agrees: boolean
  /** each difference, in words */
  readonly findings: ReadonlyArray<string>
  /** what the export's own batches and policy give */
  readonly recomputed?: Settlement
}

const decode = Schema.decodeUnknownResult(Epoch, { onExcessProperty: "error" })

const differences = (claimed: Settlement, found: Settlement): ReadonlyArray<string> => {
  const fields = (["pool", "poolUnits", "accruedUnits", "returnedUnits", "policy", "unlocksAt"] as const).flatMap((field) =>
    claimed[field] === found[field] ? [] : [`${field}: settled ${claimed[field]}, recomputed ${found[field]}`])
  const nodes = new Set([...claimed.accruals, ...found.accruals].map(({ node }) => node))
  const accruals = [...nodes].flatMap((node) => {
    const [theirs, ours] = [claimed, found].map(({ accruals }) => accruals.filter((entry) => entry.node === node))
    if (theirs?.length !== 1 || ours?.length !== 1) return [`node ${node}: settled ${theirs?.length ?? 0} times, recomputed ${ours?.length ?? 0} times`]
    return (["units", "workMilliseconds"] as const).flatMap((field) => (theirs[0]?.[field] === ours[0]?.[field] ? [] : [`node ${node}, ${field}: settled ${theirs[0]?.[field]}, recomputed ${ours[0]?.[field]}`]))
  })
  return [...fields, ...accruals]
}

/** `exported` is the parsed JSON of one of `exportEpochs`. Never throws. */
export const audit = (exported: unknown): Audit => {
  const decoded = decode(exported)
  if (Result.isFailure(decoded)) return { agrees: false, findings: ["the file is not an epoch export (hypernode-epoch-v1)"] }
  const epoch = decoded.success
  const policy = policyOf(epoch.policy)
  if (policy === undefined) return { agrees: false, findings: [`policy ${epoch.policy} is not known to this version`] }
  const recomputed = settlementOf(policy, BigInt(epoch.poolUnits), compute(policy, BigInt(epoch.poolUnits), epoch.basis, epoch.batches), epoch.settledAt + epoch.challengeWindow)
  const findings = differences(epoch.settlement, recomputed)
  return { agrees: findings.length === 0, findings, recomputed }
}
