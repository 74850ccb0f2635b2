/** Login links, sessions and API keys. Nothing here ever holds or returns a secret that was not just made or just handed in. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { KeyView } from "../contract/Access.ts"
import type { Scope } from "../contract/Caller.ts"

export class AuthStoreError extends Schema.TaggedError<AuthStoreError>()("AuthStoreError", { message: Schema.String }) {}

export interface Identity {
  readonly tenant: string
  readonly by: string
  readonly scopes: ReadonlyArray<Scope>
}

export const LINK_MILLIS = 10 * 60_000
export const SESSION_MILLIS = 30 * 24 * 3_600_000

export class AuthStore extends Context.Service<
  AuthStore,
  {
    /** Valid for ten minutes, once. */
    readonly createLink: (tenant: string, by: string) => Effect.Effect<{ readonly token: string; readonly expiresAt: number }, AuthStoreError>
    /** Uses the link up and opens a session; undefined where the link is unknown, used or expired. Two callers: one session. */
    readonly redeem: (linkToken: string) => Effect.Effect<{ readonly token: string; readonly expiresAt: number } | undefined, AuthStoreError>
    readonly session: (token: string) => Effect.Effect<Identity | undefined, AuthStoreError>
    readonly endSession: (token: string) => Effect.Effect<void, AuthStoreError>
    readonly createKey: (tenant: string, name: string, scopes: ReadonlyArray<Scope>) => Effect.Effect<KeyView & { readonly key: string }, AuthStoreError>
    readonly keys: (tenant: string) => Effect.Effect<ReadonlyArray<KeyView>, AuthStoreError>
    /** False where there is no such key of this tenant. */
    readonly revokeKey: (tenant: string, id: string) => Effect.Effect<boolean, AuthStoreError>
    readonly key: (key: string) => Effect.Effect<Identity | undefined, AuthStoreError>
  }
>()("@hypernode/api/auth/AuthStore") {}
