/** Splits an integer exactly: shares differ from their quota by less than one unit, and add up to the whole. Pure. */

export interface Weighted {
  readonly key: string
  /** not negative */
  readonly weight: bigint
}

/**
 * Units by key, in the order of keys. All of `total` where any weight is positive, none otherwise. What is left after rounding down goes
 * to the largest remainders; equal ones in the order of keys, so the order of the input never matters. Throws on a key that stands twice.
 */
export const largestRemainder = (total: bigint, weights: ReadonlyArray<Weighted>): ReadonlyMap<string, bigint> => {
  const sorted = weights.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const twice = sorted.find((entry, i) => i > 0 && sorted[i - 1]?.key === entry.key)
  if (twice !== undefined) throw new Error(`largestRemainder: ${twice.key} stands twice`)
  const sum = sorted.reduce((all, { weight }) => all + weight, 0n)
  if (sum === 0n) return new Map(sorted.map(({ key }) => [key, 0n]))
  const shares = new Map(sorted.map(({ key, weight }) => [key, (total * weight) / sum]))
  const left = total - [...shares.values()].reduce((all, units) => all + units, 0n)
  const byRemainder = sorted.toSorted((a, b) => {
    const [x, y] = [(total * a.weight) % sum, (total * b.weight) % sum]
    return x > y ? -1 : x < y ? 1 : 0
  })
  for (const { key } of byRemainder.slice(0, Number(left))) shares.set(key, (shares.get(key) ?? 0n) + 1n)
  return shares
}
