/** `WWW-Authenticate` (RFC 9110, section 11.6.1): one header may hold several challenges, each a scheme with parameters, all parted by commas. */
export interface Challenge {
  /** lower case */
  readonly scheme: string
  /** names in lower case */
  readonly parameters: Readonly<Record<string, string>>
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const PARAMETER = new RegExp(`^(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`)
/** a scheme is followed by a space, a comma or the end; a parameter's name by an equals sign */
const SCHEME = new RegExp(`^(${TOKEN})(?=\\s+[^=\\s]|\\s*,|\\s*$)`)
const TOKEN68 = /^[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/

/** What cannot be read ends the list: better fewer challenges than a wrong one. */
export const parseChallenges = (header: string): ReadonlyArray<Challenge> => {
  const challenges: Array<{ readonly scheme: string; readonly parameters: Record<string, string> }> = []
  let rest = header
  for (;;) {
    rest = rest.replace(/^[\s,]+/, "")
    if (rest === "") return challenges
    const parameter = PARAMETER.exec(rest)
    const current = challenges.at(-1)
    if (parameter !== null && current !== undefined) {
      current.parameters[parameter[1]!.toLowerCase()] = parameter[2]?.replaceAll(/\\(.)/g, "$1") ?? parameter[3]!
      rest = rest.slice(parameter[0].length)
      continue
    }
    const scheme = SCHEME.exec(rest)
    if (scheme === null) return challenges
    challenges.push({ scheme: scheme[1]!.toLowerCase(), parameters: {} })
    // a lone token68 (Negotiate, NTLM) is nothing that we answer
    rest = rest.slice(scheme[0].length).trimStart().replace(TOKEN68, "")
  }
}
