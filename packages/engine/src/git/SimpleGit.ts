/** `Git` by simple-git, which is loaded on first use and refuses by itself what its `unsafe` options do not name. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import { promises as fs } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import type { SimpleGit } from "simple-git"
import type { Address } from "./address.ts"
import { gitEnvironment, mirrorConfig, secretsOf } from "./environment.ts"
import { contents, exportTree, type ReadObjects } from "./exportTree.ts"
import { gitFailure } from "./failures.ts"
import { type Access, Git, type Mirror, type TreeFile } from "./Git.ts"
import { GitError } from "./GitError.ts"
import { printable } from "./printable.ts"

const NOTES = "refs/notes/hyper"
const FETCHED = "refs/hyper/fetched"
const COMMIT = /^[0-9a-f]{40,64}$/
/** of silence, after which git is ended */
const SILENCE_MILLIS = 120_000
const NOTE_ATTEMPTS = 4

interface Debug {
  readonly namespaces?: string
  readonly enable: (namespaces: string) => void
}

/** Where DEBUG says so, simple-git would write git's environment, and the credential in it, to the log: its own words are left out. */
const load = async (): Promise<typeof import("simple-git")> => {
  const debug = createRequire(import.meta.resolve("simple-git"))("debug") as Debug
  const asked = debug.namespaces ?? process.env["DEBUG"] ?? ""
  if (asked !== "" && !asked.includes("-simple-git")) debug.enable(`${asked},-simple-git,-simple-git:*`)
  return import("simple-git")
}

/** A repository without a work tree, made of what git asks of one and nothing more: no template, so no hook. */
const makeMirror = async (directory: string): Promise<void> => {
  await fs.mkdir(join(directory, "objects"), { recursive: true, mode: 0o700 })
  await fs.mkdir(join(directory, "refs"), { recursive: true, mode: 0o700 })
  await fs.mkdir(join(directory, "home"), { recursive: true, mode: 0o700 })
  await fs.writeFile(join(directory, "HEAD"), "ref: refs/heads/none\n", { mode: 0o600 })
  await fs.writeFile(join(directory, "config"), mirrorConfig, { mode: 0o600 })
  // left by a git that was killed: nobody else works in this directory
  for (const name of await fs.readdir(directory, { recursive: true })) {
    if (name.endsWith(".lock")) await fs.rm(join(directory, name), { force: true })
  }
}

const git = async (directory: string, address: Address, access: Access, abort: AbortSignal, input?: string): Promise<SimpleGit> => {
  const { simpleGit } = await load()
  const environment = gitEnvironment(address, access, join(directory, "home"))
  return simpleGit({
    baseDir: directory,
    abort,
    timeout: { block: SILENCE_MILLIS },
    completion: { onClose: true, onExit: false },
    allowEnvironment: Object.keys(environment).filter((name) => name.startsWith("GIT_")),
    // what our own environment sets, and no more
    unsafe: {
      allowUnsafeConfigPaths: true,
      ...(access.kind === "ssh" ? { allowUnsafeSshCommand: true } : {}),
      ...(access.kind === "http" ? { allowUnsafeConfigEnvCount: true } : {})
    },
    ...(input === undefined ? {} : { input: () => input })
  }).env(environment)
}

type Raw = (...args: ReadonlyArray<string>) => Promise<string>

/** Records of `ls-tree -r -z -l`. */
const treeOf = (output: string): ReadonlyArray<TreeFile> =>
  output.split("\0").flatMap((line) => {
    const found = /^(\d{6}) \w+ ([0-9a-f]+) +(\d+|-)\t([^]+)$/.exec(line)
    return found === null ? [] : [{ mode: found[1]!, object: found[2]!, path: found[4]!, ...(found[3] === "-" ? {} : { size: Number(found[3]) }) }]
  })

/** Records of `diff-tree -r -z --raw`: what is there afterwards. */
const changesOf = (output: string): ReadonlyArray<TreeFile> => {
  const parts = output.split("\0")
  return parts.flatMap((part, index) => {
    const found = /^:\d{6} (\d{6}) [0-9a-f]+ ([0-9a-f]+) [AMT]$/.exec(part)
    const path = parts[index + 1]
    return found === null || path === undefined ? [] : [{ mode: found[1]!, object: found[2]!, path }]
  })
}

/** `one`: of that directory, whoever else has it open. */
const open = (directory: string, address: Address, access: Access, one: Semaphore.Semaphore): Effect.Effect<Mirror, GitError> =>
  Effect.gen(function* () {
    const secrets = secretsOf(access)
    /** Interrupting it ends git. */
    const attempt = <A>(doing: string, run: (raw: Raw, objects: ReadObjects) => Promise<A>): Effect.Effect<A, GitError> =>
      Effect.tryPromise({
        try: (abort) =>
          run(
            async (...args) => (await git(directory, address, access, abort)).raw([...args]),
            async (ids) => (await git(directory, address, access, abort, `${ids.join("\n")}\n`)).binaryCatFile(["--batch"]) as Promise<Buffer>
          ),
        catch: (cause) => gitFailure(cause, address, doing, secrets)
      })
    const sure = (commit: string): string => {
      if (!COMMIT.test(commit)) throw new GitError({ reason: "Failed", message: `${printable(commit, 60)} is not a commit's name`, remedy: "this is a defect in hyper" })
      return commit
    }
    const exclusive = one.withPermits(1)

    yield* exclusive(attempt("preparing the mirror", () => makeMirror(directory)))

    const fetchRef = (raw: Raw, from: string, to: string) => raw("fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-auto-maintenance", "--progress", "--end-of-options", address.url, `+${from}:${to}`)

    const branches = async (raw: Raw): Promise<string> => {
      const heads = (await raw("ls-remote", "--heads", "--end-of-options", address.url)).split("\n").flatMap((line) => line.split("\trefs/heads/").slice(1))
      return heads.length === 0 ? "" : heads.slice(0, 8).map((head) => printable(head, 60)).join(", ")
    }

    const fetch: Mirror["fetch"] = (branch) =>
      exclusive(attempt("fetching", async (raw) => {
        try {
          await fetchRef(raw, `refs/heads/${branch}`, FETCHED)
        } catch (cause) {
          const failure = gitFailure(cause, address, "fetching", secrets)
          if (failure.reason !== "NoBranch") throw failure
          const there = await branches(raw)
          throw there === ""
            ? new GitError({ reason: "NoBranch", message: `${printable(address.url)} is empty: it has no branch at all`, remedy: `push a commit to ${branch}, then watch again` })
            : new GitError({ reason: "NoBranch", message: `${printable(address.url)} has no branch ${branch}`, remedy: `branches there: ${there}; name one with --branch, or push ${branch}` })
        }
        return sure((await raw("rev-parse", "--verify", "--end-of-options", `${FETCHED}^{commit}`)).trim())
      }))

    const publish = async (raw: Raw, commit: string, text: string): Promise<void> => {
      const file = join(directory, "note.json")
      await fs.writeFile(file, text, { mode: 0o600 })
      for (let tried = 1; ; tried++) {
        try {
          await fetchRef(raw, NOTES, NOTES)
        } catch (cause) {
          const failure = gitFailure(cause, address, "fetching the notes", secrets)
          if (failure.reason !== "NoBranch") throw failure
        }
        await raw("notes", `--ref=${NOTES}`, "add", "-f", "-F", file, "--end-of-options", sure(commit))
        try {
          await raw("push", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no", "--porcelain", "--end-of-options", address.url, `${NOTES}:${NOTES}`)
          return
        } catch (cause) {
          // somebody else's note came in between
          if (tried >= NOTE_ATTEMPTS || !/fetch first|non-fast-forward|cannot lock ref|incorrect old value|reference already exists/.test(String((cause as Error).message))) throw cause
        }
      }
    }

    return {
      fetch,
      contains: (of, commit) =>
        attempt("comparing commits", async (raw) => {
          // not in the mirror: then in the history of nothing that was fetched
          if ((await raw("rev-parse", "--verify", "--quiet", "--end-of-options", `${sure(commit)}^{commit}`)).trim() === "") return false
          return (await raw("rev-list", "--max-count=1", sure(commit), `^${sure(of)}`)).trim() === ""
        }),
      commits: (from, to, path) =>
        attempt("listing commits", async (raw) => (await raw("rev-list", "--reverse", "--first-parent", "--ignore-missing", sure(to), `^${sure(from)}`, "--", ...(path === "" ? [] : [path]))).split("\n").filter((line) => COMMIT.test(line))),
      changed: (commit) =>
        attempt("reading a commit", async (raw) => {
          const [, parent] = (await raw("rev-list", "--max-count=1", "--parents", sure(commit))).trim().split(" ")
          if (parent === undefined) return treeOf(await raw("ls-tree", "-r", "-z", "-l", "--full-tree", sure(commit)))
          return changesOf(await raw("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv", "--diff-filter=AMT", sure(parent), sure(commit)))
        }),
      files: (commit) => attempt("reading a commit", async (raw) => treeOf(await raw("ls-tree", "-r", "-z", "-l", "--full-tree", sure(commit)))),
      read: ({ object }) => attempt("reading a file", async (_, objects) => contents(await objects([sure(object)]), [object]).get(object)!.toString("utf8")),
      export: (commit, to) => exclusive(attempt("exporting a commit", async (raw, objects) => exportTree(treeOf(await raw("ls-tree", "-r", "-z", "-l", "--full-tree", sure(commit))), to, objects))),
      keep: (commit) => exclusive(attempt("keeping a commit", async (raw) => void (await raw("update-ref", "refs/hyper/handled", sure(commit))))),
      note: (commit, text) => exclusive(attempt("pushing the note", (raw) => publish(raw, commit, text)))
    }
  })

export const layer: Layer.Layer<Git> = Layer.sync(Git, () => {
  const locks = new Map<string, Semaphore.Semaphore>()
  return Git.of({
    open: (directory, address, access) => {
      const one = locks.get(directory) ?? Semaphore.makeUnsafe(1)
      locks.set(directory, one)
      return open(directory, address, access, one)
    }
  })
})
