/** Resolves `{ $secret: name }` inside a step. A value never enters a plan, event, log, argv, error or artifact. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

export const SecretRef = Schema.Struct({ $secret: Schema.String })
export type SecretRef = typeof SecretRef.Type

export class SecretMissing extends Schema.TaggedError<SecretMissing>()("SecretMissing", {
  name: Schema.String,
  message: Schema.String
}) {}

export class Secrets extends Context.Service<
  Secrets,
  {
    readonly get: (tenant: string, ref: SecretRef) => Effect.Effect<Redacted.Redacted<string>, SecretMissing>
    readonly set: (tenant: string, name: string, value: Redacted.Redacted<string>) => Effect.Effect<void>
    readonly names: (tenant: string) => Effect.Effect<ReadonlyArray<string>>
  }
>()("@hypernode/engine/capability/Secrets") {}
