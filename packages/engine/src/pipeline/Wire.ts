/**
 * A typed reference to an output that a run will have. `Name` says what it carries and is also the name of every input that takes it:
 * `p.encrypt` gives a `Wire<"sealed">`, the input `sealed` wants one. A wire is plain data; the planner checks it again.
 */
import type { Ports } from "./ports.ts"

export interface Wire<Name extends string = string> {
  readonly $wire: Name
  readonly step: string
  readonly path: ReadonlyArray<string>
}

type InputsOf<K extends keyof Ports> = Ports[K]["inputs"]

/** What `p.<kind>(plugin, inputs)` wants. */
export type Inputs<K extends keyof Ports> = {} extends Ports[K]["inputs"] ? { readonly [input: string]: never } : Wires<K>

type Named<K extends keyof Ports, Need extends string> = { [N in keyof InputsOf<K>]: InputsOf<K>[N] extends Need ? N & string : never }[keyof InputsOf<K>]

/** One property of `Names`, and only one. */
type OneOf<Names extends string> = [Names] extends [never] ? {} : { [N in Names]: { readonly [M in N]: Wire<M> } & { readonly [M in Exclude<Names, N>]?: never } }[Names]

type Wires<K extends keyof Ports> =
  & { readonly [N in keyof InputsOf<K> as InputsOf<K>[N] extends "required" ? N : never]: Wire<N & string> }
  & { readonly [N in keyof InputsOf<K> as InputsOf<K>[N] extends "optional" ? N : never]?: Wire<N & string> }
  & OneOf<Named<K, "either">>

/** What it gives: one wire, or one for each property of the output. */
export type Outputs<K extends keyof Ports> = Ports[K]["output"] extends infer O
  ? O extends string ? Wire<O> : { readonly [N in keyof O]: Wire<O[N] & string> }
  : never

export const isWire = (value: unknown): value is Wire =>
  typeof value === "object" && value !== null && typeof (value as Wire).$wire === "string" && typeof (value as Wire).step === "string" &&
  Array.isArray((value as Wire).path) && (value as Wire).path.every((key) => typeof key === "string")
