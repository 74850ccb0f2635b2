/** Why a repository could not be read or written: what is wrong, and what to do next. Never a credential, never a terminal escape. */
import * as Schema from "effect/Schema"

export const GitErrorReason = Schema.Literals([
  "Address", // not an address that is taken: scheme, credentials inside it, a name like an option
  "Unreachable", // network, TLS, time-out: may come back
  "Denied", // credentials missing or refused, host key unknown
  "NotFound", // no such repository
  "NoBranch", // the branch is not there, or the repository is empty
  "Rewritten", // what was handled is no longer in the branch's history
  "TooLarge",
  "Missing", // no git here
  "Failed"
])
export type GitErrorReason = typeof GitErrorReason.Type

export class GitError extends Schema.TaggedError<GitError>()("GitError", {
  reason: GitErrorReason,
  message: Schema.String,
  remedy: Schema.String
}) {}
