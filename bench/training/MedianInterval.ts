/** The median of paired ratios with its confidence interval, without any assumption on how they are distributed. */
export interface MedianInterval {
  readonly median: number
  readonly low: number
  readonly high: number
  /** the interval's own confidence, at least 0.95 where there are 6 values or more */
  readonly confidence: number
}

/**
 * The interval between two order statistics: the number of values below the true median is binomial (n, 1/2), so the interval from the
 * k-th smallest to the k-th largest misses it with probability 2 P(B < k). (David and Nagaraja, Order Statistics, 7.1.)
 */
export const medianInterval = (values: ReadonlyArray<number>): MedianInterval => {
  const sorted = values.toSorted((a, b) => a - b)
  const n = sorted.length
  const middle = n >> 1
  const median = n % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  let k = 0
  let missed = 0
  // P(B = k) = C(n, k) / 2^n
  for (let probability = 0.5 ** n; k + 1 <= n - k && 2 * (missed + probability) <= 0.05; k++) {
    missed += probability
    probability *= (n - k) / (k + 1)
  }
  // too few values for the confidence: their whole range, with what confidence it has
  const place = Math.max(k, 1)
  return { median, low: sorted[place - 1]!, high: sorted[n - place]!, confidence: 1 - 2 * (k === 0 ? 0.5 ** n : missed) }
}
