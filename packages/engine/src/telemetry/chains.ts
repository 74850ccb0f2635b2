/** Which of a set of batches hold: each (job, node) is one chain from sequence 0 on, and nothing after a fault counts. Pure; no effect at run time. */
import { type BatchFault, type ChainHead, verifyBatch } from "./batch.ts"
import type { SignedBatch } from "./Sample.ts"

export interface Chains<Entry> {
  /** in the order of (job, node, sequence), each once */
  readonly accepted: ReadonlyArray<Entry>
  readonly refused: ReadonlyArray<{ readonly entry: Entry; readonly fault: BatchFault }>
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0)

/** The order of `entries` and repeated ones make no difference: of equal batches the one that was received first stays. */
export const verifyChains = <Entry extends { readonly batch: SignedBatch; readonly receivedAt: number }>(entries: ReadonlyArray<Entry>): Chains<Entry> => {
  const sorted = entries.toSorted((a, b) =>
    compare(a.batch.job, b.batch.job) || compare(a.batch.node, b.batch.node) || compare(a.batch.sequence, b.batch.sequence) ||
    compare(a.receivedAt, b.receivedAt) || compare(a.batch.digest, b.batch.digest))
  const accepted: Array<Entry> = []
  const refused: Array<{ entry: Entry; fault: BatchFault }> = []
  const seen = new Set<string>()
  const heads = new Map<string, ChainHead>()
  for (const entry of sorted) {
    const { batch } = entry
    const identity = `${batch.job}\n${batch.node}\n${batch.sequence}\n${batch.digest}\n${batch.signature}`
    if (seen.has(identity)) continue
    seen.add(identity)
    const chain = `${batch.job}\n${batch.node}`
    const fault = verifyBatch(batch, heads.get(chain) ?? null)
    if (fault === undefined) {
      heads.set(chain, batch)
      accepted.push(entry)
    } else refused.push({ entry, fault })
  }
  return { accepted, refused }
}
