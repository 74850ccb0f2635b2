/** `either`: exactly one of the inputs so marked. */
export type Need = "required" | "optional" | "either"

/**
 * Names of what each kind takes and gives, without the schemas: what the builder and its types need, free of effect. A type test and
 * a test hold it equal to `stage/kinds.ts`.
 */
import type { StageKind } from "../stage/StageKind.ts"

export const ports = {
  select: { inputs: {}, output: { model: "model", dataset: "dataset" } },
  encrypt: { inputs: { dataset: "required", model: "optional" }, output: "sealed" },
  shard: { inputs: { sealed: "required", model: "optional" }, output: "shards" },
  train: { inputs: { model: "required", shards: "required" }, output: "trained" },
  checkpoint: { inputs: { trained: "required" }, output: "checkpoint" },
  package: { inputs: { checkpoint: "required" }, output: "packaged" },
  serve: { inputs: { packaged: "either", model: "either" }, output: "endpoint" },
  reward: { inputs: { trained: "required", endpoint: "optional" }, output: "settlement" }
} as const satisfies Record<StageKind, { readonly inputs: Readonly<Record<string, Need>>; readonly output: string | Readonly<Record<string, string>> }>

export type Ports = typeof ports

/** What a wire of the output of `kind`, followed along `path`, carries; undefined where there is no such output. */
export const carried = (kind: string, path: ReadonlyArray<string>): string | undefined => {
  if (!Object.hasOwn(ports, kind)) return undefined
  const output: string | Readonly<Record<string, string>> = ports[kind as StageKind].output
  if (typeof output === "string") return path.length === 0 ? output : undefined
  return path.length === 1 && Object.hasOwn(output, path[0]!) ? output[path[0]!] : undefined
}

/** Which stage gives what an input named `name` needs: for hints. */
export const giverOf = (name: string): string | undefined => {
  for (const [kind, port] of Object.entries(ports)) {
    if (port.output === name) return `p.${kind}(...)`
    if (typeof port.output === "object" && Object.hasOwn(port.output, name)) return `const { ${name} } = p.${kind}(...)`
  }
  return undefined
}
