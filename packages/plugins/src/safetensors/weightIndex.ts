/** `model.safetensors.index.json`: which tensor lies in which shard. A reader that trusts it must not see another model than one that does not. */
import { duplicateKey } from "./duplicateKey.ts"
import type { Tensor } from "./Header.ts"

/** What is wrong with the index, or with the files where there is none; undefined where all agrees. */
export const indexFault = (weights: ReadonlyMap<string, ReadonlyArray<Tensor>>, index: string | undefined): string | undefined => {
  const at = new Map<string, string>()
  for (const [file, tensors] of weights) {
    for (const { name } of tensors) {
      const other = at.get(name)
      if (other !== undefined) return `tensor ${JSON.stringify(name)} is in ${other} and in ${file}`
      at.set(name, file)
    }
  }
  if (index === undefined) return undefined
  let map: unknown
  try {
    map = (JSON.parse(index) as { readonly weight_map?: unknown }).weight_map
  } catch {
    return "the weights' index is not JSON"
  }
  const twice = duplicateKey(index)
  if (twice !== undefined) return `the weights' index has the key ${JSON.stringify(twice)} twice`
  if (typeof map !== "object" || map === null || Array.isArray(map)) return "the weights' index has no weight_map"
  const entries = Object.entries(map as Readonly<Record<string, unknown>>)
  const wrong = entries.find(([name, file]) => at.get(name) !== file)
  if (wrong !== undefined) return `the weights' index puts tensor ${JSON.stringify(wrong[0])} into ${String(wrong[1])}, where it is not`
  if (entries.length !== at.size) return `the weights' index names ${entries.length} tensors, the files hold ${at.size}`
  return undefined
}
