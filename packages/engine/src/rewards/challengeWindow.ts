/** `"24 h"` → milliseconds. */

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 }
const LONGEST = 365 * 86_400_000

/** Undefined where the text is no duration of at most 365 days. */
export const challengeWindow = (text: string): number | undefined => {
  const found = /^\s*(?<count>\d{1,9})\s*(?<unit>ms|s|min|h|d)\s*$/.exec(text)?.groups
  const milliseconds = Number(found?.["count"] ?? Number.NaN) * (units[found?.["unit"] ?? ""] ?? Number.NaN)
  return milliseconds <= LONGEST ? milliseconds : undefined
}
