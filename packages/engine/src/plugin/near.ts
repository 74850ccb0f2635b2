/** The names nearest to a mistyped one, for hints. */

const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1]!.toLowerCase() === b[j - 1]!.toLowerCase() ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

/** At most three, nearest first; none where nothing is near. */
export const near = (name: string, names: Iterable<string>): ReadonlyArray<string> =>
  [...new Set(names)]
    .map((candidate) => ({ candidate, d: candidate.startsWith(name) && name.length > 1 ? 1 : distance(name, candidate) }))
    .filter(({ candidate, d }) => d <= (name.length > 4 ? Math.max(2, Math.floor(Math.max(name.length, candidate.length) / 3)) : 1))
    .toSorted((a, b) => a.d - b.d || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, 3)
    .map(({ candidate }) => candidate)

/** `did you mean "epochs"?`, or what there is. */
export const didYouMean = (name: string, names: Iterable<string>, what: string): string => {
  const all = [...new Set(names)]
  const nearest = near(name, all)
  if (nearest.length > 0) return `did you mean ${nearest.map((n) => `"${n}"`).join(" or ")}?`
  return all.length === 0 ? `there are no ${what}` : `${what}: ${all.slice(0, 20).join(", ")}${all.length > 20 ? ", ..." : ""}`
}
