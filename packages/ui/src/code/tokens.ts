/** Just enough of TypeScript's grammar to colour a pipeline file. */
export interface Token {
  readonly text: string
  readonly kind: "plain" | "string" | "word" | "number" | "stage"
}

const grammar = /("(?:[^"\\]|\\.)*")|\b(import|from|export|default|const)\b|\b(\d[\d.e-]*)\b|(\.(?:select|encrypt|shard|train|checkpoint|package|serve|reward))\b/g

export const tokens = (line: string): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  let at = 0
  for (const match of line.matchAll(grammar)) {
    if (match.index > at) found.push({ text: line.slice(at, match.index), kind: "plain" })
    found.push({ text: match[0], kind: match[1] !== undefined ? "string" : match[2] !== undefined ? "word" : match[3] !== undefined ? "number" : "stage" })
    at = match.index + match[0].length
  }
  if (at < line.length) found.push({ text: line.slice(at), kind: "plain" })
  return found
}
