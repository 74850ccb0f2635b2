/** A parameter's value: what the caller gave, read by the type of the default. */
import { PipelineError } from "./PipelineError.ts"

export type Json = string | number | boolean | null | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** `2e-4` → number, `"lora"` → string: a parameter may get any value of its default's type. */
export type Widen<T> = T extends number ? number : T extends string ? string : T extends boolean ? boolean : T

const typeOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)

const article = (type: string): string => (/^[aeio]/.test(type) ? `an ${type}` : `a ${type}`)

/** Text (from a command line) is read as JSON unless the default is a string. Throws PipelineError. */
export const paramValue = (name: string, given: unknown, fallback: Json): unknown => {
  const wanted = typeOf(fallback)
  let value = given
  if (typeof given === "string" && wanted !== "string") {
    try {
      value = JSON.parse(given)
    } catch {
      value = given
    }
  }
  if (wanted === "string" && (typeof given === "number" || typeof given === "boolean")) value = String(given)
  if (typeOf(value) === wanted || wanted === "null") return value
  throw new PipelineError(
    `params.${name}`,
    `${JSON.stringify(given)} is not ${article(wanted)}, which its default ${JSON.stringify(fallback)} is`,
    `give ${article(wanted)}, for example --param ${name}=${typeof fallback === "string" ? fallback : JSON.stringify(fallback)}`
  )
}
