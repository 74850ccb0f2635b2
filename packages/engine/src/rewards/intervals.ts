/** Time on one clock, in whole milliseconds. A sample claims the time that ends at its own instant. Pure. */

export interface Interval {
  readonly begin: number
  readonly end: number
}

/** Rounding of a monotonic clock against the wall clock: less than this is cut off without a word. */
const TOLERANCE = 50

/**
 * What one rank is credited: each claim covers the time before its instant that no earlier claim covers, and none before `from`.
 * `claims` are sorted by `at`; one entry each. `excess` says that noticeably more was claimed than there was.
 */
export const creditRank = (claims: ReadonlyArray<{ readonly at: number; readonly claimed: number }>, from: number): ReadonlyArray<{ readonly interval: Interval; readonly excess: boolean }> => {
  let covered = from
  return claims.map(({ at, claimed }) => {
    const begin = Math.max(covered, at - claimed)
    const interval = begin < at ? { begin, end: at } : { begin: at, end: at }
    covered = Math.max(covered, at)
    return { interval, excess: claimed - (interval.end - interval.begin) > TOLERANCE }
  })
}

/** Milliseconds covered by at least one interval. */
export const lengthOfUnion = (intervals: ReadonlyArray<Interval>): number => {
  let length = 0
  let end = Number.NEGATIVE_INFINITY
  for (const interval of intervals.toSorted((a, b) => a.begin - b.begin)) {
    length += Math.max(0, interval.end - Math.max(end, interval.begin))
    end = Math.max(end, interval.end)
  }
  return length
}
