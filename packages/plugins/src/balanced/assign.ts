/**
 * Longest processing time first: heaviest segment to the lightest slot. The heaviest slot carries at most 4/3 - 1/(3 parts) of the best
 * possible (Graham 1969). Deterministic: ties go to the lower index. Weight is tokens where every segment has them, else bytes.
 */
import type { Segment, Shards } from "@hypernode/engine/stage/values"

export type Slot = Shards["slots"][number]

const sum = (of: ReadonlyArray<Segment>, value: (segment: Segment) => number): number => of.reduce((total, segment) => total + value(segment), 0)

export const assign = (segments: ReadonlyArray<Segment>, parts: number): ReadonlyArray<Slot> => {
  const counted = segments.every((segment) => segment.tokens !== undefined)
  const weight = (segment: Segment): number => (counted ? segment.tokens ?? 0 : segment.bytes)
  const slots = Array.from({ length: parts }, (_, slot) => ({ slot, weight: 0, segments: [] as Array<Segment> }))
  // A slot without a segment comes first even where a weight is zero: no worker may stand idle.
  const lighter = (a: (typeof slots)[number], b: (typeof slots)[number]): number => Math.min(a.segments.length, 1) - Math.min(b.segments.length, 1) || a.weight - b.weight || a.slot - b.slot
  for (const segment of segments.toSorted((a, b) => weight(b) - weight(a) || a.index - b.index)) {
    const slot = slots.reduce((least, next) => (lighter(next, least) < 0 ? next : least))
    slot.segments.push(segment)
    slot.weight += weight(segment)
  }
  return slots.map(({ segments: own, slot }) => ({
    slot,
    segments: own.map((segment) => segment.index).toSorted((a, b) => a - b),
    rows: sum(own, (s) => s.rows),
    bytes: sum(own, (s) => s.bytes),
    ...(counted ? { tokens: sum(own, (s) => s.tokens ?? 0) } : {})
  }))
}
