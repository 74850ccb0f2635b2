/** Private keys of a home: files of mode 0600 in a 0700 directory, written atomically. Key material never leaves through errors or logs. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

export class KeyMissing extends Schema.TaggedError<KeyMissing>()("KeyMissing", { name: Schema.String, message: Schema.String }) {}
export class KeyringIo extends Schema.TaggedError<KeyringIo>()("KeyringIo", { message: Schema.String }) {}

export class Keyring extends Context.Service<
  Keyring,
  {
    readonly get: (name: string) => Effect.Effect<Redacted.Redacted<string>, KeyMissing | KeyringIo>
    /** Returns what is there, or stores and returns what `make` gives: atomic against two callers. */
    readonly getOrCreate: (name: string, make: () => string) => Effect.Effect<Redacted.Redacted<string>, KeyringIo>
    readonly has: (name: string) => Effect.Effect<boolean, KeyringIo>
    readonly names: (prefix: string) => Effect.Effect<ReadonlyArray<string>, KeyringIo>
    readonly destroy: (name: string) => Effect.Effect<void, KeyringIo>
    /** ed25519 over `bytes` with the named key (made when absent). Base64. */
    readonly sign: (name: string, bytes: Uint8Array) => Effect.Effect<string, KeyringIo>
    /** ed25519 public key, base64 of the raw 32 bytes. */
    readonly publicKey: (name: string) => Effect.Effect<string, KeyringIo>
  }
>()("@hypernode/engine/keys/Keyring") {}
