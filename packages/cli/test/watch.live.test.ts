/** `hyper watch` against real git servers on loopback, real pushes, and a daemon that is killed. */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import * as Database from "@hypernode/engine/store/Database"
import { GitAuthor } from "@hypernode/engine/testing/GitAuthor"
import { GitHttpServer } from "@hypernode/engine/testing/GitHttpServer"
import { GitSshServer, hasSshd } from "@hypernode/engine/testing/GitSshServer"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import { Hyper, type Result } from "./Hyper.ts"
import { Forge } from "./watch/Forge.ts"
import { asksHost, asksSecret, broken, impostor, pluginFile, rows, seal, slow, usesPluginFile } from "./watch/pipelines.ts"

const PASSWORD = "pw-5e81f0c2"
const TOKEN = "tok-93ab77d1"

/** One for all homes of this file: they start faster, and are as fresh otherwise. */
const compiled = mkdtempSync(join(tmpdir(), "hw-"))
afterAll(() => rmSync(compiled, { recursive: true, force: true }))

let hyper: Hyper
let closing: Array<{ close(): Promise<unknown> }>
beforeEach(() => {
  // simple-git would log git's environment where DEBUG says so
  hyper = new Hyper({ GIT_PASSWORD: PASSWORD, FORGE_TOKEN: TOKEN, DEBUG: "*", NODE_COMPILE_CACHE: compiled })
  closing = []
})
afterEach(async () => {
  for (const one of closing) await one.close()
  expect(await hyper.close()).toEqual([])
})

const said = (result: Result) => result.stdout + result.stderr
const serve = async (): Promise<GitHttpServer> => {
  const server = await GitHttpServer.start({ root: join(hyper.home, "repos"), login: `robot:${PASSWORD}` })
  closing.push(server)
  return server
}
const author = (name: string): GitAuthor => new GitAuthor(join(hyper.home, "repos"), name)
const policy = (content: unknown): string => {
  const path = join(hyper.home, "policy.json")
  writeFileSync(path, JSON.stringify(content))
  return path
}
const login = ["--user", "robot", "--secret", "GIT_PASSWORD"]
const runIds = async (): Promise<ReadonlyArray<{ id: string; pipeline: string; state: string }>> => JSON.parse((await hyper.run("runs", "--json", "-n", "100")).stdout) as never

const sql = <A>(statement: (client: SqlClient) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(SqlClient, statement).pipe(Effect.provide(Database.layer.pipe(Layer.provide(Layer.succeed(CurrentHome, homeAt(hyper.root, hyper.env["HYPER_CACHE"] as string))))))))

/** A watch that goes on; its events as they come. */
const watching = (...args: ReadonlyArray<string>) => {
  const { child, done } = hyper.start("watch", ...args, "--json")
  const events: Array<Record<string, unknown>> = []
  let buffer = ""
  child.stdout?.on("data", (chunk: Buffer) => {
    buffer += chunk.toString()
    const lines = buffer.split("\n")
    buffer = lines.pop() as string
    events.push(...lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Record<string, unknown>))
  })
  const until = async (type: string, commit: string, count = 1): Promise<Record<string, unknown>> => {
    const found = await Hyper.until(() => events.filter((e) => e["type"] === type && e["commit"] === commit)[count - 1], 60_000)
    expect(found, `${type} of ${commit}: ${JSON.stringify(events)}`).toBeDefined()
    return found as Record<string, unknown>
  }
  const leave = async (): Promise<Result> => {
    child.kill("SIGINT")
    return done
  }
  return { child, done, events, until, leave }
}

const noteOf = (of: GitAuthor, commit: string) => JSON.parse(of.note(commit)) as { pipelines: Array<{ file: string; state: string; run?: string; plan?: string; message?: string }> }

/** Running processes with one of the needles in their arguments. */
const told = (needles: ReadonlyArray<string>): Array<string> => {
  const found: Array<string> = []
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "latin1")
      if (needles.some((needle) => line.includes(needle))) found.push(`argv ${line.replaceAll("\0", " ").slice(0, 60)}`)
    } catch {
      // gone
    }
  }
  return found
}

/** Files of the home with one of the needles in them. The keyring holds secrets; that is what it is for. */
const written = (needles: ReadonlyArray<string>): Array<string> => {
  const found: Array<string> = []
  const look = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name)
      if (path === join(hyper.root, "keys")) continue
      try {
        if (entry.isDirectory()) look(path)
        else if (entry.isFile() && statSync(path).size < 64e6 && needles.some((needle) => readFileSync(path).includes(needle))) found.push(path)
      } catch {
        // gone
      }
    }
  }
  if (existsSync(hyper.root)) look(hyper.root)
  return found
}
const forms = [PASSWORD, TOKEN, Buffer.from(`robot:${PASSWORD}`).toString("base64")]

describe("hyper watch over HTTP", () => {
  it("runs what a policy allows, says what does not plan, reports as note and status, and keeps credentials to itself", async () => {
    const server = await serve()
    const forge = await Forge.start(TOKEN)
    closing.push(forge)
    const a = author("one.git")
    const first = a.commit({ "data/rows.jsonl": rows("first"), "pipelines/seal.ts": seal("seal"), "docs/other.ts": seal("elsewhere"), "pipelines/text.ts": "export const x = 1\n" })
    const watch = watching(server.url("one.git"), "--path", "pipelines/", "--interval", "1", "--policy", policy({ run: true }), ...login, "--status", `github=${forge.page}`, "--token-secret", "FORGE_TOKEN")
    const leaked = new Set<string>()
    const looking = setInterval(() => { for (const leak of told(forms)) leaked.add(leak) }, 20)
    const run = await watch.until("run", first)
    expect(watch.events.find((e) => e["type"] === "commit")).toMatchObject({ files: ["pipelines/seal.ts"] })
    expect(await watch.until("ended", first)).toMatchObject({ state: "succeeded", runId: run["runId"] })
    // two statuses and the note
    await watch.until("reported", first, 3)
    expect(forge.of(first)).toEqual(["hyper/pipelines/seal.ts pending", "hyper/pipelines/seal.ts success"])
    expect(noteOf(a, first).pipelines).toEqual([expect.objectContaining({ file: "pipelines/seal.ts", state: "succeeded", run: run["runId"], plan: run["planDigest"] })])

    for (const leak of written(forms)) leaked.add(leak)

    // a second commit: one that does not plan, one that does; what did not change is left alone
    const second = a.commit({ "pipelines/broken.ts": broken, "pipelines/more.ts": seal("more") })
    expect(await watch.until("unplannable", second)).toMatchObject({ file: "pipelines/broken.ts", message: expect.stringMatching(/^pipelines\/broken\.ts:\d+:\d+: .*modle[^]*did you mean "model"/), remedy: expect.stringContaining("hyper plan") })
    expect(await watch.until("ended", second)).toMatchObject({ file: "pipelines/more.ts", state: "succeeded" })
    await watch.until("reported", second, 4)
    expect(forge.of(second).toSorted()).toEqual(["hyper/pipelines/broken.ts failure", "hyper/pipelines/more.ts pending", "hyper/pipelines/more.ts success"])
    expect(noteOf(a, second).pipelines.map(({ file, state }) => [file, state])).toEqual([["pipelines/broken.ts", "unplannable"], ["pipelines/more.ts", "succeeded"]])
    expect((await runIds()).map((r) => r.pipeline).toSorted()).toEqual(["more", "seal"])

    // the server goes away and comes back: said once, and nothing is missed
    const { port } = server
    await server.close()
    expect(await Hyper.until(() => watch.events.find((e) => e["type"] === "trouble"))).toMatchObject({ message: expect.stringContaining("cannot be reached"), remedy: expect.stringContaining("goes on by itself") })
    closing.push(await GitHttpServer.start({ root: join(hyper.home, "repos"), login: `robot:${PASSWORD}` }, port))
    const third = a.commit({ "docs/x.md": "x", "pipelines/seal.ts": seal("seal-2") })
    await watch.until("run", third)
    // nobody watches any more: the run goes on, and is reported
    const left = await watch.leave()
    expect(left.code).toBe(130)
    expect(left.stderr).toBe("")
    expect(await Hyper.until(() => noteOf(a, third).pipelines.map(({ file, state }) => [file, state]))).toEqual([["pipelines/seal.ts", "succeeded"]])
    expect(forge.of(third)).toEqual(["hyper/pipelines/seal.ts pending", "hyper/pipelines/seal.ts success"])
    clearInterval(looking)
    expect([...leaked, ...written(forms)]).toEqual([])
    for (const form of forms) expect(said(left)).not.toContain(form)
    // the search finds what is planted
    writeFileSync(join(hyper.root, "planted"), `x${forms[2]}`)
    expect(written(forms)).toEqual([join(hyper.root, "planted")])
    const planted = spawn("sleep", ["60"], { argv0: PASSWORD })
    expect(await Hyper.until(() => told(forms)[0])).toContain("argv")
    planted.kill("SIGKILL")
  })

  it("is killed between seeing a commit and starting its run, and at other moments: each commit runs exactly once, each status arrives once", async () => {
    const server = await serve()
    const forge = await Forge.start(TOKEN)
    closing.push(forge)
    const a = author("kill.git")
    const first = a.commit({ "data/rows.jsonl": rows("kill"), "pipelines/a.ts": slow("a", 1_500) })
    forge.down = true
    const watch = watching(server.url("kill.git"), "--interval", "1", "--policy", policy({ run: true }), ...login, "--status", `github=${forge.page}`, "--token-secret", "FORGE_TOKEN")
    const kill = () => process.kill(hyper.daemonPid() as number, "SIGKILL")
    await watch.until("commit", first)
    expect(watch.events.some((e) => e["type"] === "run")).toBe(false)
    kill()
    await watch.until("run", first)
    const commits = [first]
    await watch.until("unreported", first)
    // somewhere on the way
    const second = a.commit({ "pipelines/a.ts": slow("a-0", 200) })
    await watch.until("commit", second)
    await sleep(600)
    kill()
    await watch.until("run", second)
    await watch.until("ended", second)
    // a status arrives, and its answer is lost
    forge.swallow = 1
    forge.down = false
    // after the run's start, before it is recorded whose run that is
    const third = await sql((client) =>
      client.withTransaction(
        Effect.gen(function* () {
          yield* client`LOCK TABLE watch_files IN SHARE MODE`
          const commit = a.commit({ "pipelines/a.ts": seal("a-1") })
          while ((yield* client`SELECT 1 FROM runs WHERE pipeline = 'a-1'`).length === 0) yield* Effect.sleep(20)
          const waiting = client<{ pid: number }>`SELECT pid FROM pg_locks WHERE relation = 'watch_files'::regclass AND NOT granted`
          while ((yield* waiting).length === 0) yield* Effect.sleep(20)
          kill()
          for (const { pid } of yield* waiting) yield* client`SELECT pg_terminate_backend(${pid})`
          return commit
        })
      )
    )
    await watch.until("run", third)
    commits.push(second, third)
    for (const commit of commits) {
      await Hyper.until(() => (forge.of(commit).includes("hyper/pipelines/a.ts success") ? true : undefined))
      expect(forge.of(commit)).toEqual(["hyper/pipelines/a.ts pending", "hyper/pipelines/a.ts success"])
      expect(await Hyper.until(() => noteOf(a, commit).pipelines[0]?.state)).toBe("succeeded")
    }
    await watch.leave()
    const pipelines = (await runIds()).map((r) => r.pipeline).toSorted()
    const twice = (names: ReadonlyArray<string>) => names.filter((name, index) => names.indexOf(name) !== index)
    expect(pipelines).toEqual(["a", "a-0", "a-1"])
    expect(twice(pipelines)).toEqual([])
    expect(twice([...pipelines, "a-1"])).toEqual(["a-1"])
    // again, from the beginning: nothing is new
    const again = await hyper.run("watch", server.url("kill.git"), "--once", "--policy", policy({ run: true }), ...login)
    expect(again.code, said(again)).toBe(0)
    expect(await runIds()).toHaveLength(3)
  })
})

describe("what cannot be watched", () => {
  it("is told with a remedy and an exit code, and nothing is half-done", async () => {
    const server = await serve()
    const a = author("two.git")
    const once = (...args: ReadonlyArray<string>) => hyper.run("watch", "--once", ...login, "--policy", policy({ run: true }), ...args)
    const at = server.url("two.git")

    const inside = await hyper.run("watch", `http://robot:${PASSWORD}@127.0.0.1:${server.port}/two.git`, "--once")
    expect(inside.code).toBe(2)
    expect(inside.stderr).toMatch(/credential in it[^]*--secret NAME/)
    expect(said(inside)).not.toContain(PASSWORD)
    expect((await hyper.run("watch", "ext::sh -c true", "--once")).code).toBe(2)
    expect((await hyper.run("watch", at, "--branch=--upload-pack=x", "--once")).code).toBe(2)
    const odd = await hyper.run("watch", at, "--once", "--policy", policy({ runn: true }))
    expect(odd.code).toBe(2)
    expect(odd.stderr).toMatch(/policy\.json is not a policy[^]*runn/)
    expect(existsSync(hyper.root)).toBe(false)

    const nobody = await once("http://127.0.0.1:9/x.git")
    expect(nobody.code).toBe(6)
    expect(nobody.stderr).toMatch(/cannot be reached[^]*check that the server runs/)
    const denied = await hyper.run("watch", at, "--once")
    expect(denied.code).toBe(4)
    expect(denied.stderr).toMatch(/credentials[^]*--secret NAME/)
    const empty = await once(at)
    expect(empty.code).toBe(5)
    expect(empty.stderr).toMatch(/is empty[^]*push a commit to main/)

    const first = a.commit({ "data/rows.jsonl": rows("two"), "pipelines/a.ts": seal("a") })
    expect((await once(at)).code).toBe(0)
    // rewritten: refused as a whole, until somebody says that it is wanted
    a.git(a.work, "checkout", "-q", "--orphan", "other")
    a.write({ "pipelines/b.ts": seal("b") })
    a.git(a.work, "add", "-A")
    a.git(a.work, "commit", "-q", "-m", "rewritten")
    const rewritten = a.push("--force")
    const forced = await once(at)
    expect(forced.code).toBe(4)
    expect(forced.stderr).toMatch(new RegExp(`force-pushed: ${first.slice(0, 12)}[^]*--accept-rewrite`))
    expect((await runIds()).map((r) => r.pipeline)).toEqual(["a"])
    const accepted = await once(at, "--accept-rewrite")
    expect(accepted.code, said(accepted)).toBe(0)
    expect((await runIds()).map((r) => r.pipeline).toSorted()).toEqual(["a", "a", "b"])
    expect(noteOf(a, rewritten).pipelines).toHaveLength(2)

    // emptied
    a.git(a.bare, "update-ref", "-d", "refs/heads/main")
    const emptied = await once(at)
    expect(emptied.code).toBe(5)
    expect(emptied.stderr).toMatch(/is empty|has no branch main/)
    a.git(a.bare, "update-ref", "refs/heads/main", rewritten)
    expect((await once(at)).stdout).toContain("Nothing new.")
    a.commit({ "pipelines/broken.ts": broken })
    const unplannable = await once(at)
    expect(unplannable.code).toBe(3)
    expect(unplannable.stdout).toMatch(/broken\.ts: does not plan: pipelines\/broken\.ts:\d+:\d+/)
    expect(await runIds()).toHaveLength(3)
  })
})

describe("a policy", () => {
  it("is what pushed pipelines are held to: no code, secrets, hosts or files but those it names", async () => {
    const a = author("three.git")
    const at = a.bare
    const mark = join(hyper.home, "mark")
    const outside = join(hyper.home, "outside.jsonl")
    writeFileSync(outside, rows("outside"))
    hyper.env["AWS_KEY"] = "aws-11"
    const once = async (content: unknown, ...args: ReadonlyArray<string>) => {
      const result = await hyper.run("watch", at, "--once", "--json", "--no-notes", ...(content === undefined ? [] : ["--policy", policy(content)]), ...args)
      return { code: result.code, events: Hyper.lines(result).filter((e) => e["type"] !== "watching" && e["type"] !== "head" && e["type"] !== "commit"), text: said(result) }
    }
    a.commit({ "data/rows.jsonl": rows("three"), "pipelines/ok.ts": seal("ok") })
    expect(await once(undefined)).toMatchObject({ code: 0, events: [{ type: "planned", message: expect.stringContaining("planned only") }, { type: "end" }] })

    a.commit({ "pipelines/marks.ts": pluginFile(mark), "pipelines/plugin.ts": usesPluginFile(0) })
    const plugin = await once({ run: true })
    expect(plugin).toMatchObject({ code: 4, events: [{ type: "refused", file: "pipelines/plugin.ts", message: expect.stringContaining("code of the repository"), remedy: expect.stringContaining('"./"') }, { type: "end" }] })
    expect(existsSync(mark)).toBe(false)

    a.commit({ ...impostor(mark) })
    expect(await once({ run: true })).toMatchObject({ code: 4, events: [{ type: "refused", message: expect.stringContaining("code of the repository") }, { type: "end" }] })
    expect(existsSync(mark)).toBe(false)
    a.commit({ "package.json": null, "age.js": null, "evil.js": null, "pipelines/impostor.ts": null })
    expect((await once({ run: true })).code).toBe(0)

    a.commit({ "pipelines/secret.ts": asksSecret, "pipelines/host.ts": asksHost, "pipelines/absolute.ts": seal("absolute", outside), "pipelines/up.ts": seal("up", "../../../../../../outside.jsonl"), "pipelines/plain.ts": seal("plain") })
    const held = await once({ run: true, paths: ["pipelines/nothing.ts"] })
    expect(held.code).toBe(4)
    const byFile = Object.fromEntries(held.events.filter((e) => "file" in e).map((e) => [String(e["file"]).replace("pipelines/", ""), `${e["type"]}: ${e["message"]} ${e["remedy"] ?? ""}`]))
    expect(byFile["secret.ts"]).toMatch(/^refused: .*secret AWS_KEY.*"secrets"/)
    expect(byFile["host.ts"]).toMatch(/^refused: .*127\.0\.0\.1:9.*"hosts"/)
    expect(byFile["absolute.ts"]).toMatch(/^refused: .*outside the repository.*"data"/)
    expect(byFile["up.ts"]).toMatch(/^refused: .*outside the repository/)
    expect(byFile["plain.ts"]).toMatch(/^planned: .*"paths"/)
    expect(await runIds()).toEqual([])

    // each is refused by the policy alone: with it, the same files are taken
    a.commit({ "pipelines/absolute.ts": seal("absolute-2", outside), "pipelines/plugin.ts": usesPluginFile(60_000) })
    const allowed = await once({ run: true, data: [hyper.home], plugins: ["@hypernode/plugins", "./"], limits: { seconds: 1 } })
    expect(existsSync(mark), allowed.text).toBe(true)
    expect(allowed.events.filter((e) => e["type"] === "ended").map((e) => [e["file"], e["state"], e["message"]]).toSorted()).toEqual([
      ["pipelines/absolute.ts", "succeeded", undefined],
      ["pipelines/plugin.ts", "cancelled", "it ran longer than the policy's 1 s"]
    ])
    expect(allowed.code).toBe(1)
    rmSync(mark)
  })
})

describe.skipIf(!hasSshd())("hyper watch over SSH", () => {
  it("runs a commit, pushes its note, and wants the right key and host key", async () => {
    const a = author("ssh.git")
    const commit = a.commit({ "data/rows.jsonl": rows("ssh"), "pipelines/a.ts": seal("a") })
    const server = await GitSshServer.start(join(hyper.home, "sshd"))
    closing.push(server)
    const at = server.url(a.bare)
    const known = ["--known-hosts", server.knownHosts]
    const stranger = await hyper.run("watch", at, "--once", "--ssh-key", server.otherKey, ...known)
    expect(stranger.code).toBe(4)
    expect(stranger.stderr).toMatch(/does not accept the SSH key[^]*--ssh-key/)
    const result = await hyper.run("watch", at, "--once", "--policy", policy({ run: true }), "--ssh-key", server.key, ...known)
    expect(result.code, said(result) + server.log()).toBe(0)
    expect(result.stdout).toMatch(/run [0-9a-f]{12} succeeded/)
    expect(noteOf(a, commit).pipelines[0]?.state).toBe("succeeded")
  })
})
