/** What is watched and how: as the command line hands it to the daemon, and as SQL keeps it (without the policy). Secrets by name only. */
import * as Schema from "effect/Schema"
import { Policy } from "./Policy.ts"

const SecretName = Schema.String.check(Schema.isPattern(/^[A-Za-z_][A-Za-z0-9_.-]*$/))

export const WatchAccess = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("none") }),
  /** basic authentication */
  Schema.Struct({ kind: Schema.Literal("http"), user: Schema.String.check(Schema.isPattern(/^[^:\s]+$/)), secret: SecretName }),
  /** absolute paths; without a key, ssh's own default keys */
  Schema.Struct({ kind: Schema.Literal("ssh"), knownHosts: Schema.String, key: Schema.optionalKey(Schema.String) })
])
export type WatchAccess = typeof WatchAccess.Type

export const ForgeTarget = Schema.Struct({
  forge: Schema.Literals(["github", "gitlab", "gitea"]),
  /** of the repository's page: `https://github.com/owner/repo` */
  url: Schema.String,
  secret: SecretName
})
export type ForgeTarget = typeof ForgeTarget.Type

/** What outlives the command: enough to report on runs that are still going. */
export const StoredSpec = Schema.Struct({
  repository: Schema.String,
  branch: Schema.String,
  /** empty: everything */
  path: Schema.String,
  access: WatchAccess,
  status: Schema.optionalKey(ForgeTarget),
  /** whether results are pushed as notes */
  notes: Schema.Boolean
})
export type StoredSpec = typeof StoredSpec.Type

export const WatchSpec = Schema.Struct({
  ...StoredSpec.fields,
  /** absent: plan only */
  policy: Schema.optionalKey(Policy),
  /** one look, then wait for its runs */
  once: Schema.Boolean,
  /** between looks */
  intervalMillis: Schema.Int.check(Schema.isBetween({ minimum: 1_000, maximum: 86_400_000 })),
  /** take a rewritten branch as it is now */
  acceptRewrite: Schema.Boolean,
  /** a look has succeeded before: a server that is away is waited for */
  resumed: Schema.Boolean
})
export type WatchSpec = typeof WatchSpec.Type
