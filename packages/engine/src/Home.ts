/** Where a home keeps its things. `HYPER_HOME` (default `.hyper/` of the working directory), mode 0700; caches are per user. */
import { createHash } from "node:crypto"
import { homedir, tmpdir, userInfo } from "node:os"
import { join, resolve } from "node:path"

export interface Home {
  readonly root: string
  readonly cache: string
  readonly artifacts: string
  readonly keys: string
  readonly jobs: string
  readonly scratch: string
  readonly packages: string
  readonly database: string
  readonly gateway: string
  readonly log: string
  /** short directory (0700) for Unix sockets: a socket's path may have 108 bytes at most */
  readonly sockets: string
}

export const homeAt = (root: string, cache: string): Home => ({
  root,
  cache,
  artifacts: join(root, "artifacts"),
  keys: join(root, "keys"),
  jobs: join(root, "jobs"),
  scratch: join(root, "scratch"),
  packages: join(root, "packages"),
  database: join(root, "pg"),
  gateway: join(root, "gateway"),
  log: join(root, "log"),
  sockets: join(root, "run").length <= 70 ? join(root, "run") : join(tmpdir().length < 40 ? tmpdir() : "/tmp", `hyper-${userInfo().uid}-${createHash("sha256").update(root).digest("hex").slice(0, 12)}`)
})

export const homeFromEnv = (env: Readonly<Record<string, string | undefined>>, cwd: string): Home =>
  homeAt(
    resolve(cwd, env["HYPER_HOME"] ?? ".hyper"),
    resolve(cwd, env["HYPER_CACHE"] ?? join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "hyper"))
  )
