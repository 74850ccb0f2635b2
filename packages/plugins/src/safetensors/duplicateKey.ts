/** JSON.parse keeps the last of two equal keys and says nothing; two readers may then see two different files under one digest. */

/** The first key that stands twice in one object of `json`, which must already have parsed. */
export const duplicateKey = (json: string): string | undefined => {
  /** one entry an open bracket: the keys so far of an object, undefined for an array */
  const open: Array<Set<string> | undefined> = []
  let keyNext = false
  for (let i = 0; i < json.length; i++) {
    const c = json[i]
    if (c === "{") {
      open.push(new Set())
      keyNext = true
    } else if (c === "[") {
      open.push(undefined)
      keyNext = false
    } else if (c === "}" || c === "]") {
      open.pop()
      keyNext = false
    } else if (c === ",") {
      keyNext = open.at(-1) !== undefined
    } else if (c === '"') {
      const start = i
      for (i++; json[i] !== '"'; i++) if (json[i] === "\\") i++
      if (keyNext) {
        // decoded: "a" and "\u0061" are one key
        const key = JSON.parse(json.slice(start, i + 1)) as string
        const keys = open.at(-1)!
        if (keys.has(key)) return key
        keys.add(key)
        keyNext = false
      }
    }
  }
  return undefined
}
