/** Somebody who writes commits, for tests: a bare repository to serve and a clone to commit in, by the git of this machine. */
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

const environment = (home: string): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "/usr/bin:/bin",
  HOME: home,
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_TERMINAL_PROMPT: "0",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.org"
})

export class GitAuthor {
  /** the bare repository */
  readonly bare: string
  readonly work: string
  readonly #home: string

  /** `name` of the repository below `root`. */
  constructor(root: string, name: string) {
    this.#home = root
    this.bare = join(root, name)
    this.work = join(root, `${name}.work`)
    mkdirSync(root, { recursive: true })
    this.git(root, "init", "-q", "--bare", "-b", "main", this.bare)
    this.git(root, "init", "-q", "-b", "main", this.work)
    this.git(this.work, "remote", "add", "origin", this.bare)
  }

  git(directory: string, ...args: ReadonlyArray<string>): string {
    const { status, stderr, stdout } = spawnSync("git", ["-c", "protocol.file.allow=always", ...args], { cwd: directory, env: environment(this.#home), encoding: "utf8" })
    if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`)
    return stdout.trim()
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.work, name)), { recursive: true })
      writeFileSync(join(this.work, name), text)
    }
  }

  /** Writes, commits and pushes; the commit's name. */
  commit(files: Readonly<Record<string, string | null>>, message = "change"): string {
    this.write(Object.fromEntries(Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== null)))
    for (const [name, text] of Object.entries(files)) if (text === null) rmSync(join(this.work, name), { recursive: true, force: true })
    this.git(this.work, "add", "-A")
    this.git(this.work, "commit", "-q", "--allow-empty", "-m", message)
    return this.push()
  }

  push(...options: ReadonlyArray<string>): string {
    this.git(this.work, "push", "-q", ...options, "origin", "HEAD:refs/heads/main")
    return this.git(this.work, "rev-parse", "HEAD")
  }

  /** The note that stands on the server, as text. */
  note(commit: string): string {
    return this.git(this.bare, "notes", "--ref=refs/notes/hyper", "show", commit)
  }
}
