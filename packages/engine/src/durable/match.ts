/**
 * Equality on fields of an event's data, as the expression that an Inngest server evaluates, and back. The embedded executor reads
 * only what `matchExpression` writes: `async.data.job == "j1" && async.data.node == "n"`.
 */
export type Match = Readonly<Record<string, string>>

/** Undefined: any event of that name. Throws on a field that is no plain name. */
export const matchExpression = (match: Match): string | undefined => {
  const terms = Object.entries(match).map(([field, value]) => {
    if (!/^[A-Za-z_]\w*$/.test(field)) throw new Error(`waitForEvent: "${field}" cannot be matched on; a field is a plain name`)
    return `async.data.${field} == ${JSON.stringify(value)}`
  })
  return terms.length === 0 ? undefined : terms.join(" && ")
}

export const parseMatch = (expression: string | undefined): Match => {
  const match: Record<string, string> = {}
  if (expression === undefined || expression === "") return match
  const term = /async\.data\.([A-Za-z_]\w*) == ("(?:[^"\\]|\\.)*")( && (?=a)|$)/y
  while (term.lastIndex < expression.length) {
    const found = term.exec(expression)
    if (found === null) throw new Error(`waitForEvent: the embedded executor cannot read the condition ${expression}`)
    match[found[1]!] = JSON.parse(found[2]!) as string
  }
  return match
}

export const matches = (match: Match, data: Readonly<Record<string, unknown>>): boolean => Object.entries(match).every(([field, value]) => data[field] === value)
