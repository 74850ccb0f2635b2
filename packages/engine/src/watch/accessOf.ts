/** From a stored spec to what git is given: secrets are looked up at each use, key files are looked at before ssh is. */
import * as Effect from "effect/Effect"
import { existsSync, statSync } from "node:fs"
import { Secrets } from "../capability/Secrets.ts"
import type { Access } from "../git/Git.ts"
import { GitError } from "../git/GitError.ts"
import type { WatchAccess } from "./WatchSpec.ts"

const keyFault = (path: string): GitError | undefined => {
  if (!existsSync(path)) return new GitError({ reason: "Denied", message: `there is no SSH key file ${path}`, remedy: "give one that may read the repository: --ssh-key FILE" })
  const { mode } = statSync(path)
  return (mode & 0o077) === 0 ? undefined : new GitError({ reason: "Denied", message: `others may read the SSH key file ${path} (mode ${(mode & 0o777).toString(8)})`, remedy: `chmod 600 ${path}; if others have read it, make a new key` })
}

export const accessOf = Effect.fnUntraced(function* (tenant: string, access: WatchAccess): Effect.fn.Return<Access, GitError, Secrets> {
  switch (access.kind) {
    case "none":
      return { kind: "none" }
    case "http": {
      const secrets = yield* Secrets
      const secret = yield* secrets.get(tenant, { $secret: access.secret }).pipe(Effect.mapError(({ message }) => new GitError({ reason: "Denied", message, remedy: `set ${access.secret} in the environment of hyper watch` })))
      return { kind: "http", user: access.user, secret }
    }
    case "ssh": {
      const fault = access.key === undefined ? undefined : keyFault(access.key)
      if (fault !== undefined) return yield* fault
      return { kind: "ssh", knownHosts: access.knownHosts, ...(access.key === undefined ? {} : { key: access.key }) }
    }
  }
})
