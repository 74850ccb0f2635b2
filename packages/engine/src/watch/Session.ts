/** One `hyper watch` that holds the line: what it watches, and whom it tells. */
import { createHash } from "node:crypto"
import type { Mirror } from "../git/Git.ts"
import type { Isolation } from "../plan/evaluate.ts"
import type { WatchEvent } from "./WatchEvent.ts"
import type { StoredSpec, WatchSpec } from "./WatchSpec.ts"

export interface Session {
  readonly tenant: string
  readonly spec: WatchSpec
  readonly id: string
  readonly mirror: Mirror
  readonly isolation: Isolation
  readonly tell: (event: WatchEvent) => void
  /** commits that this session answers for */
  readonly mine: Set<string>
}

export const storedOf = ({ access, branch, notes, path, repository, status }: WatchSpec): StoredSpec => ({ repository, branch, path, access, notes, ...(status === undefined ? {} : { status }) })

/** Follows from what it is a run of, so that starting it again starts nothing. */
export const runIdOf = (tenant: string, spec: StoredSpec, commit: string, file: string): string =>
  createHash("sha256").update(["watch", tenant, spec.repository, spec.branch, commit, file].join("\0")).digest("hex").slice(0, 12)
