/** Text that others wrote (file names, messages of a server) on its way to a terminal or a log: no control characters, bounded. */
export const printable = (text: string, limit = 300): string => {
  const clean = text.replaceAll(/[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]+/gu, " ").trim()
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean
}
