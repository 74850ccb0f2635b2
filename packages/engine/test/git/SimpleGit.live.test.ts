/** The git port against real servers on loopback (smart HTTP, sshd), and against repositories that mean harm. */
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { parseAddress } from "../../src/git/address.ts"
import { type Access, Git, type Mirror } from "../../src/git/Git.ts"
import { GitError } from "../../src/git/GitError.ts"
import * as SimpleGit from "../../src/git/SimpleGit.ts"
import { GitAuthor } from "../../src/testing/GitAuthor.ts"
import { GitHttpServer } from "../../src/testing/GitHttpServer.ts"
import { GitSshServer, hasSshd } from "../../src/testing/GitSshServer.ts"

if (!hasSshd() && process.env["CI"] === "true") throw new Error("openssh-server is missing")

const SECRET = "s3cr3t-7c1f90"
let root: string
let http: GitHttpServer
let count = 0
const fresh = () => join(root, `mirror-${count++}`)

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "hg-"))
  http = await GitHttpServer.start({ root, login: `robot:${SECRET}` })
})
afterAll(async () => {
  await http.close()
  rmSync(root, { recursive: true, force: true })
})

const login: Access = { kind: "http", user: "robot", secret: Redacted.make(SECRET) }
const run = <A>(effect: Effect.Effect<A, GitError, Git>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(SimpleGit.layer)))
const open = (url: string, access: Access, directory = fresh()): Promise<Mirror> => run(Git.use((git) => git.open(directory, parseAddress(url), access)))
const failing = (effect: Effect.Effect<unknown, GitError>): Promise<GitError> => Effect.runPromise(Effect.flip(effect))
const filesBelow = (directory: string): Array<string> => readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => !e.isDirectory()).map((e) => join(e.parentPath, e.name).slice(directory.length + 1)).toSorted()

/** What must not lie below `directory`, found by looking at every byte of every file. */
const filesWith = (directory: string, needles: ReadonlyArray<string>): Array<string> =>
  filesBelow(directory).filter((name) => { const bytes = readFileSync(join(directory, name)); return needles.some((needle) => bytes.includes(needle)) })
const forms = [SECRET, Buffer.from(`robot:${SECRET}`).toString("base64")]

describe("a repository over HTTP", () => {
  it("is fetched, told apart by what changed, exported and annotated; the credential stays out of every file", async () => {
    const author = new GitAuthor(root, "one.git")
    const first = author.commit({ "a.txt": "1", "deep/b.txt": "2" })
    const directory = fresh()
    const mirror = await open(http.url("one.git"), login, directory)
    expect(await run(mirror.fetch("main"))).toBe(first)
    const second = author.commit({ "a.txt": "11", "deep/b.txt": null, "c.txt": "3" })
    const third = author.commit({ "deep/d.txt": "4" })
    expect(await run(mirror.fetch("main"))).toBe(third)
    expect(await run(mirror.contains(third, first))).toBe(true)
    expect(await run(mirror.contains(first, third))).toBe(false)
    // of a commit that the mirror does not have
    expect(await run(mirror.contains(third, "0".repeat(40)))).toBe(false)
    expect(await run(mirror.commits("0".repeat(40), third, ""))).toEqual([first, second, third])
    expect(await run(mirror.commits(first, third, ""))).toEqual([second, third])
    expect(await run(mirror.commits(first, third, "deep"))).toEqual([second, third])
    expect(await run(mirror.commits(first, third, "c.txt"))).toEqual([second])
    expect((await run(mirror.changed(second))).map((f) => f.path)).toEqual(["a.txt", "c.txt"])
    expect((await run(mirror.changed(first))).map((f) => f.path)).toEqual(["a.txt", "deep/b.txt"])
    const to = join(root, "export-one")
    expect(await run(mirror.export(third, to))).toEqual({ files: 3, bytes: 4, skipped: [] })
    expect(filesBelow(to)).toEqual(["a.txt", "c.txt", "deep/d.txt"])
    expect(readFileSync(join(to, "a.txt"), "utf8")).toBe("11")
    expect(statSync(to).mode & 0o777).toBe(0o700)

    await run(mirror.note(third, `{"n":1}`))
    expect(author.note(third)).toBe(`{"n":1}`)
    // somebody else's note is kept; ours is written over
    author.git(author.work, "fetch", "-q", "origin", "refs/notes/hyper:refs/notes/hyper")
    author.git(author.work, "notes", "--ref=refs/notes/hyper", "add", "-m", "theirs", first)
    author.git(author.work, "push", "-q", "origin", "refs/notes/hyper")
    await run(mirror.note(third, `{"n":2}`))
    expect(author.note(third)).toBe(`{"n":2}`)
    expect(author.note(first)).toBe("theirs")

    expect(filesWith(directory, forms)).toEqual([])
    writeFileSync(join(directory, "planted"), `x ${forms[1]} y`)
    expect(filesWith(directory, forms)).toEqual(["planted"])
  })

  it("refuses in words, without the secret: wrong password, no such repository, no such branch, nothing in it, nobody there", async () => {
    new GitAuthor(root, "empty.git")
    new GitAuthor(root, "two.git").commit({ a: "1" })
    const wrong = await failing((await open(http.url("two.git"), { kind: "http", user: "robot", secret: Redacted.make("wrong-9911") })).fetch("main"))
    expect(wrong).toMatchObject({ reason: "Denied", remedy: expect.stringContaining("--secret") })
    expect(JSON.stringify(wrong) + String(wrong.stack)).not.toMatch(/wrong-9911|cm9ib3Q6/)
    expect(await failing((await open(http.url("two.git"), { kind: "none" })).fetch("main"))).toMatchObject({ reason: "Denied" })
    expect(await failing((await open(http.url("nothing.git"), login)).fetch("main"))).toMatchObject({ reason: "NotFound" })
    expect(await failing((await open(http.url("two.git"), login)).fetch("release"))).toMatchObject({ reason: "NoBranch", remedy: expect.stringContaining("branches there: main") })
    expect(await failing((await open(http.url("empty.git"), login)).fetch("main"))).toMatchObject({ reason: "NoBranch", message: expect.stringContaining("is empty") })
    expect(await failing((await open("http://127.0.0.1:9/x.git", login)).fetch("main"))).toMatchObject({ reason: "Unreachable" })
  })

  it("says that a push is refused, and leaves the rest alone", async () => {
    const author = new GitAuthor(root, "readonly.git")
    const commit = author.commit({ a: "1" })
    const server = await GitHttpServer.start({ root, login: `robot:${SECRET}`, readOnly: true })
    try {
      const mirror = await open(server.url("readonly.git"), login)
      await run(mirror.fetch("main"))
      expect(await failing(mirror.note(commit, "{}"))).toMatchObject({ reason: "Denied" })
      expect(await run(mirror.fetch("main"))).toBe(commit)
    } finally {
      await server.close()
    }
  })
})

describe.skipIf(!hasSshd())("a repository over SSH", () => {
  it("is fetched with the key and the host key that were named, and with no others", async () => {
    const author = new GitAuthor(root, "ssh.git")
    const commit = author.commit({ a: "1" })
    const server = await GitSshServer.start(join(root, "sshd"))
    try {
      const at = server.url(author.bare)
      const mirror = await open(at, { kind: "ssh", key: server.key, knownHosts: server.knownHosts })
      expect(await run(mirror.fetch("main")), server.log()).toBe(commit)
      await run(mirror.note(commit, "{}"))
      expect(author.note(commit)).toBe("{}")
      expect(await failing((await open(at, { kind: "ssh", key: server.otherKey, knownHosts: server.knownHosts })).fetch("main"))).toMatchObject({ reason: "Denied", remedy: expect.stringContaining("--ssh-key") })
      const strangers = join(root, "strangers")
      writeFileSync(strangers, readFileSync(server.knownHosts, "utf8").replace(/AAAA\S+/, readFileSync(`${server.otherKey}.pub`, "utf8").split(" ")[1] as string))
      expect(await failing((await open(at, { kind: "ssh", key: server.key, knownHosts: strangers })).fetch("main"))).toMatchObject({ reason: "Denied", message: expect.stringContaining("host key") })
      expect(await failing((await open(at, { kind: "ssh", key: server.key, knownHosts: "/dev/null" })).fetch("main"))).toMatchObject({ reason: "Denied", message: expect.stringContaining("host key") })
      chmodSync(server.key, 0o644)
      expect(await failing((await open(at, { kind: "ssh", key: server.key, knownHosts: server.knownHosts })).fetch("main"))).toMatchObject({ reason: "Denied" })
    } finally {
      await server.close()
    }
  })
})

describe("addresses", () => {
  it.each([
    ["https://robot:pass@host/x.git", /credential[^]*--secret/],
    ["https://token@host/x.git", /credential/],
    ["--upload-pack=touch /tmp/x", /option|spaces/],
    ["--upload-pack=x", /option/],
    ["ext::sh -c touch% /tmp/x", /spaces|helper/],
    ["ext::sh", /helper/],
    ["fd::7", /helper/],
    ["ssh://-oProxyCommand=x/y", /dash|not a URL/],
    ["-oProxyCommand=x:y", /option/],
    ["user@-oProxyCommand:y", /no repository/],
    ["git://host/x.git", /not a transport/],
    ["http://example.org/x.git", /readable by all/],
    ["/nowhere/at/all.git", /no repository/]
  ])("%s is refused", (text, words) => {
    try {
      parseAddress(text)
    } catch (error) {
      expect(error).toBeInstanceOf(GitError)
      const { message, remedy } = error as GitError
      expect(`${message}\n${remedy}`).toMatch(words)
      expect(message).not.toContain("pass@")
      return
    }
    expect.unreachable(`${text} was taken`)
  })

  it("are taken where they are plain", () => {
    expect(parseAddress("https://host/o/r.git")).toMatchObject({ transport: "https", host: "host" })
    expect(parseAddress("git@host:o/r.git")).toMatchObject({ transport: "ssh", host: "host" })
    expect(parseAddress("ssh://git@host:22/o/r.git")).toMatchObject({ transport: "ssh" })
    expect(parseAddress(root)).toMatchObject({ transport: "file", url: root })
  })
})

describe("a repository that means harm", () => {
  /** Each writes `marks/<name>` when it is obeyed. */
  const marks = () => join(root, "marks")
  const marked = () => (existsSync(marks()) ? readdirSync(marks()).toSorted() : [])

  it("is inert: hooks, submodules, links, filters, attributes, refs like options", async () => {
    mkdirSync(marks(), { recursive: true })
    const author = new GitAuthor(root, "evil.git")
    const mark = (name: string) => `touch ${join(marks(), name)}`
    const library = new GitAuthor(root, "library.git")
    library.commit({ "lib.txt": "from a submodule" })
    author.commit({ "plain.txt": "$Id$ $Format:%H$ \n" })
    author.write({ ".gitattributes": "*.txt filter=evil ident export-subst text eol=crlf diff=evil\n* merge=evil\n", "hooks/post-checkout": `#!/bin/sh\n${mark("hook")}\n`, "node_modules/@hypernode/plugins/age/plugin.js": "x", "inner/.git/config": "planted" })
    rmSync(join(author.work, "inner"), { recursive: true })
    author.git(author.work, "config", "filter.evil.clean", "cat")
    symlinkSync("/etc", join(author.work, "out"))
    symlinkSync("plain.txt", join(author.work, "within"))
    author.git(author.work, "submodule", "add", "-q", library.bare, "sub")
    author.git(author.work, "config", "-f", ".gitmodules", "submodule.sub.update", `!${mark("submodule")}`)
    author.git(author.work, "add", "-A", "-f")
    author.git(author.work, "commit", "-q", "-m", "harm")
    const commit = author.push()
    // what the server itself holds is its own affair, and must not travel: hooks, configuration, refs with names like options
    writeFileSync(join(author.bare, "hooks/post-checkout"), `#!/bin/sh\n${mark("server-hook")}\n`, { mode: 0o755 })
    author.git(author.bare, "update-ref", `refs/heads/--upload-pack=${marks()}`, commit)
    author.git(author.bare, "update-ref", "refs/heads/-x", commit)

    const directory = fresh()
    // a mirror into which somebody had planted hooks all the same
    mkdirSync(join(directory, "hooks"), { recursive: true })
    for (const name of ["reference-transaction", "post-checkout", "pre-push", "pre-auto-gc", "post-index-change"]) writeFileSync(join(directory, "hooks", name), `#!/bin/sh\n${mark(`mirror-${name}`)}\n`, { mode: 0o755 })
    const mirror = await open(http.url("evil.git"), login, directory)
    expect(await run(mirror.fetch("main"))).toBe(commit)
    const to = join(root, "export-evil")
    const exported = await run(mirror.export(commit, to))
    await run(mirror.note(commit, "{}"))
    expect(marked()).toEqual([])
    expect(Object.fromEntries(exported.skipped.map(({ path, why }) => [path, why.split(":")[0]]))).toEqual({
      out: "a symbolic link",
      within: "a symbolic link",
      sub: "a submodule",
      "node_modules/@hypernode/plugins/age/plugin.js": "below node_modules"
    })
    expect(filesBelow(to)).toEqual([".gitattributes", ".gitmodules", "hooks/post-checkout", "plain.txt"])
    for (const name of filesBelow(to)) expect(lstatSync(join(to, name)).isFile()).toBe(true)
    expect(readFileSync(join(to, "plain.txt"), "utf8")).toBe("$Id$ $Format:%H$ \n")

    // the check catches what is planted: git without our environment obeys the mirror's hooks, and a checkout follows links and attributes
    author.git(author.work, "clone", "-q", author.bare, join(root, "naive"))
    expect(lstatSync(join(root, "naive/out")).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(root, "naive/plain.txt"), "utf8")).toMatch(/\$Id: [0-9a-f]+ \$.*\r\n/)
    author.git(directory, "-c", "core.hooksPath=hooks", "update-ref", "refs/hyper/x", commit)
    expect(marked()).toEqual(["mirror-reference-transaction"])
  })
})
