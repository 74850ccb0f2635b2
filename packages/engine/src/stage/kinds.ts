/** Input (by wire name) and output schema of each kind. A plugin of a kind takes and gives exactly this. */
import * as Schema from "effect/Schema"
import { Endpoint, Exported, Model, Packaged, Sealed, Settlement, Shards, SourceRef, Trained } from "./values.ts"

export const SelectOutput = Schema.Struct({ model: Schema.optionalKey(Model), dataset: Schema.optionalKey(SourceRef) })

export const kinds = {
  select: { input: Schema.Struct({}), output: SelectOutput },
  encrypt: { input: Schema.Struct({ dataset: SourceRef, model: Schema.optionalKey(Model) }), output: Sealed },
  shard: { input: Schema.Struct({ sealed: Sealed, model: Schema.optionalKey(Model) }), output: Shards },
  train: { input: Schema.Struct({ model: Model, shards: Shards }), output: Trained },
  checkpoint: { input: Schema.Struct({ trained: Trained }), output: Exported },
  package: { input: Schema.Struct({ checkpoint: Exported }), output: Packaged },
  // one of them: what was made here, or a model as it was selected
  serve: { input: Schema.Struct({ packaged: Schema.optionalKey(Packaged), model: Schema.optionalKey(Model) }), output: Endpoint },
  reward: { input: Schema.Struct({ trained: Trained, endpoint: Schema.optionalKey(Endpoint) }), output: Settlement }
} as const

export type Kinds = {
  readonly [K in keyof typeof kinds]: {
    readonly input: (typeof kinds)[K]["input"]["Type"]
    readonly output: (typeof kinds)[K]["output"]["Type"]
  }
}
