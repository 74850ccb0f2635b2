/** Options as JSON, or the path and reason why they are not. */
import { isWire } from "./Wire.ts"

export interface NotJson {
  readonly path: string
  readonly message: string
  readonly hint?: string
}

const LIMIT = 64

const kindOf = (value: unknown): string => (typeof value === "object" ? value?.constructor?.name ?? "object" : typeof value)

/** A copy of `value` as JSON; what is not JSON is reported and left out. Names of secrets are added to `secrets`. */
export const toJson = (value: unknown, path: string, issues: Array<NotJson>, secrets: Set<string>, depth = 0): unknown => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value
  if (typeof value === "number") {
    if (Number.isFinite(value)) return value
    issues.push({ path, message: `${value} is not a number that a plan can hold`, hint: "give a finite number" })
    return null
  }
  if (isWire(value)) {
    issues.push({ path, message: `a wire (output of "${value.step}") cannot be an option`, hint: "wires go into the second argument: p.train(plugin(options), { model, shards })" })
    return null
  }
  if (depth > LIMIT) {
    issues.push({ path, message: `nested more than ${LIMIT} deep`, hint: "a plan is plain JSON: no value may contain itself" })
    return null
  }
  if (Array.isArray(value)) return value.map((inner, i) => toJson(inner, `${path}.${i}`, issues, secrets, depth + 1))
  const prototype: unknown = typeof value === "object" ? Object.getPrototypeOf(value) : undefined
  if (typeof value === "object" && (prototype === null || prototype === Object.prototype)) {
    const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
    const name = (value as { $secret?: unknown }).$secret
    if (typeof name === "string" && entries.length === 1) secrets.add(name)
    return Object.fromEntries(entries.map(([key, inner]) => [key, toJson(inner, `${path}.${key}`, issues, secrets, depth + 1)]))
  }
  issues.push({ path, message: `${kindOf(value)} is not JSON`, hint: "a plan is plain JSON: strings, numbers, booleans, null, arrays and objects" })
  return null
}
