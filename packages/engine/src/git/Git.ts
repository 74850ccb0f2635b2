/**
 * The port to a repository elsewhere: a bare mirror of one branch in this home, read object by object. Nothing that a commit holds is
 * ever run or obeyed: no checkout, so no hooks, filters or attributes; submodules and symbolic links stay out of an export.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Address } from "./address.ts"
import type { GitError } from "./GitError.ts"

/** How to log in. Values come from `Secrets`; files are named by path. */
export type Access =
  | { readonly kind: "none" }
  /** basic authentication; a forge's token is the password, and most take any user */
  | { readonly kind: "http"; readonly user: string; readonly secret: Redacted.Redacted<string> }
  | { readonly kind: "ssh"; readonly knownHosts: string; readonly key?: string }

/** A file of a commit. Mode as git writes it: 100644, 100755, 120000 (a link), 160000 (a submodule). */
export interface TreeFile {
  readonly path: string
  readonly mode: string
  readonly object: string
  /** bytes; absent for a submodule */
  readonly size?: number
}

export interface Exported {
  readonly files: number
  readonly bytes: number
  /** what was left out, and why */
  readonly skipped: ReadonlyArray<{ readonly path: string; readonly why: string }>
}

export interface Mirror {
  /** The commit that the branch is at now, with its history. */
  readonly fetch: (branch: string) => Effect.Effect<string, GitError>
  /** True when `commit` is in the history of `of`. */
  readonly contains: (of: string, commit: string) => Effect.Effect<boolean, GitError>
  /** Commits of `to` that `from` does not have and that touch `path`, along first parents, oldest first. */
  readonly commits: (from: string, to: string, path: string) => Effect.Effect<ReadonlyArray<string>, GitError>
  /** Files that the commit adds or changes against its first parent. A rename adds. */
  readonly changed: (commit: string) => Effect.Effect<ReadonlyArray<TreeFile>, GitError>
  readonly files: (commit: string) => Effect.Effect<ReadonlyArray<TreeFile>, GitError>
  readonly read: (file: TreeFile) => Effect.Effect<string, GitError>
  /** Writes the commit's plain files below `directory`, which must not be there yet; whole or not at all. */
  readonly export: (commit: string, directory: string) => Effect.Effect<Exported, GitError>
  /** Keeps `commit` and its history from being collected, whatever happens to the branch. */
  readonly keep: (commit: string) => Effect.Effect<void, GitError>
  /** Writes the note of `commit` under refs/notes/hyper, over one that is there, and pushes the notes. Never forces. */
  readonly note: (commit: string, text: string) => Effect.Effect<void, GitError>
}

export class Git extends Context.Service<
  Git,
  {
    /** `directory` is made when it is not there, mode 0700. */
    readonly open: (directory: string, address: Address, access: Access) => Effect.Effect<Mirror, GitError>
  }
>()("@hypernode/engine/git/Git") {}
