import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { createConnection } from "node:net"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { ArtifactStore } from "../../src/artifact/ArtifactStore.ts"
import type { Home } from "../../src/Home.ts"
import { generateIdentity } from "../../src/keys/age/X25519.ts"
import * as FileLeases from "../../src/keys/FileLeases.ts"
import { Keyring } from "../../src/keys/Keyring.ts"
import type { Shards } from "../../src/stage/values.ts"
import { temporaryHome } from "../../src/testing/stageServices.ts"
import { ask, grantOf, openSegments, type Reply, sealShards, send, services } from "./leaseFixture.ts"

// Real time: expiry is compared with the clock, and sockets are real.
const test = (name: string, body: (home: Home) => Effect.Effect<void, any, ArtifactStore | Keyring | Scope.Scope>, skip = false) =>
  it.live.skipIf(skip)(name, () => Effect.scoped(Effect.flatMap(temporaryHome, (home) => Effect.provide(body(home), services(home), { local: true }))))

const everyFile = (root: string) =>
  Effect.promise(async () => {
    const entries = (await readdir(root, { recursive: true, withFileTypes: true })).filter((e) => e.isFile())
    return Promise.all(entries.map(async (e) => ({ path: join(e.parentPath, e.name), text: await readFile(join(e.parentPath, e.name), "latin1") })))
  })
const worker = generateIdentity()

describe("leases", () => {
  test("a worker opens its own segments and no others", (home) =>
    Effect.gen(function*() {
      const shards = yield* sealShards
      const leases = yield* FileLeases.make(home)
      const { socket, tokens } = yield* leases.grant(grantOf(shards))
      assert.strictEqual(tokens.length, 2)
      assert.notStrictEqual(tokens[0], tokens[1])
      const reply = yield* ask(socket, tokens[1]!, 1, worker)
      const opened = yield* openSegments(reply, shards, worker)
      assert.deepStrictEqual(opened.map((s) => s.index), [1, 3, 5])
      for (const { index, text } of opened) assert.isTrue(text.startsWith(`{"text":"segment ${index}"}\n`))
      // its key opens nothing else: not the original headers, not another slot's
      const files = yield* Effect.forEach(shards.sealed.segments, (s) => Effect.flatMap(ArtifactStore, (a) => a.read(s.artifact)))
      const foreign = yield* Effect.result(openSegments({ v: 1, segments: [{ index: 0, header: files[0]!.subarray(0, 200).toString(), payloadOffset: 0 }] }, shards, worker).pipe(Effect.catchDefect(() => Effect.fail("closed"))))
      assert.strictEqual(foreign._tag, "Failure")
      const releases = yield* leases.releases("run-1/train/1")
      assert.strictEqual(releases.length, 1)
      assert.deepInclude(releases[0], { slot: 1, segments: [1, 3, 5] })
    }))

  const python = process.env["HYPER_PYTHON"]
  const pyrage = python !== undefined && spawnSync(python, ["-c", "import pyrage"]).status === 0
  test("a Python worker asks and opens by the protocol alone (skipped where HYPER_PYTHON has no pyrage)", (home) =>
    Effect.gen(function*() {
      const shards = yield* sealShards
      const leases = yield* FileLeases.make(home)
      const { socket, tokens } = yield* leases.grant(grantOf(shards))
      const artifacts = yield* ArtifactStore
      const paths = yield* Effect.forEach(shards.sealed.segments, (s) => artifacts.path(s.artifact))
      const program = `
import base64, json, socket, sys, pyrage
job = json.load(sys.stdin)
identity = pyrage.x25519.Identity.generate()
s = socket.socket(socket.AF_UNIX); s.connect(job["socket"])
s.sendall((json.dumps({"v": 1, "token": job["token"], "slot": 0, "recipient": str(identity.to_public())}) + "\\n").encode())
reply = b""
while not reply.endswith(b"\\n"): reply += s.recv(65536)
for r in json.loads(reply)["segments"]:
    plain = pyrage.decrypt(base64.b64decode(r["header"]) + open(job["paths"][r["index"]], "rb").read()[r["payloadOffset"]:], [identity])
    print(r["index"], plain.split(b"\\n")[0].decode())
`
      const child = spawn(python!, ["-c", program], { stdio: ["pipe", "pipe", "inherit"] })
      child.stdin.end(JSON.stringify({ socket, token: tokens[0], paths }))
      let out = ""
      child.stdout.on("data", (bytes) => { out += bytes })
      yield* Effect.promise(() => once(child, "close"))
      assert.deepStrictEqual(out.trim().split("\n"), [0, 2, 4].map((i) => `${i} {"text":"segment ${i}"}`))
    }), !pyrage)

  test("refuses a wrong token, another's slot, an expired, revoked or replaced lease, and nonsense, and logs none of them", (home) =>
    Effect.gen(function*() {
      const shards = yield* sealShards
      const leases = yield* FileLeases.make(home)
      const job = grantOf(shards)
      const { socket, tokens } = yield* leases.grant(job)
      const refused = Effect.fnUntraced(function*(reply: Effect.Effect<Reply>, why: RegExp) {
        const { error, segments } = yield* reply
        assert.match(error ?? "released", why)
        assert.isUndefined(segments)
      })
      yield* refused(ask(socket, "A".repeat(43), 0, worker), /not of this job and slot/)
      yield* refused(ask(socket, tokens[1]!, 0, worker), /not of this job and slot/)
      yield* refused(ask(socket, tokens[0]!, 2, worker), /not of this job and slot/)
      yield* refused(ask(socket, tokens[0]!, -1, worker), /not of this job and slot/)
      for (const line of ["", "{}", "null", "[1]", "{\"v\":2}", "\u0000", JSON.stringify({ v: 1, token: tokens[0], slot: "0", recipient: "age1" })]) yield* refused(send(socket, `${line}\n`), /not \{/)
      yield* refused(send(socket, `${JSON.stringify({ v: 1, token: tokens[0], slot: 0, recipient: `age1${"q".repeat(58)}` })}\n`), /not an age key/)
      yield* refused(send(socket, "x".repeat(100_000)), /too long/)

      const other = (yield* leases.grant(grantOf(shards, { jobId: "run-1/train/other" }))).tokens
      yield* refused(ask(socket, other[0]!, 0, worker), /not of this job and slot/)

      const second = yield* leases.grant({ ...job, fencingToken: 2 })
      assert.strictEqual(second.socket, socket)
      yield* refused(ask(socket, tokens[0]!, 0, worker), /later grant/)
      assert.match((yield* Effect.flip(leases.grant(job))).message, /later lease/)

      yield* leases.grant({ ...job, fencingToken: 2, expiresAt: Date.now() - 1 })
      yield* refused(ask(socket, second.tokens[0]!, 0, worker), /expired/)
      yield* leases.grant({ ...job, fencingToken: 2 })
      assert.isUndefined((yield* ask(socket, second.tokens[0]!, 0, worker)).error)
      yield* leases.revoke(job.jobId)
      yield* leases.revoke(job.jobId)
      const connected = yield* Effect.promise(() => new Promise((resolve) => createConnection(socket).on("connect", () => resolve(true)).on("error", () => resolve(false))))
      assert.isFalse(connected)
      assert.strictEqual((yield* leases.releases(job.jobId)).length, 1)
      assert.match((yield* Effect.flip(leases.releases("run-9"))).message, /never had a lease/)
    }))

  test("granting is idempotent on (job, fencing token), and no token and no key is on disk", (home) =>
    Effect.gen(function*() {
      const shards = yield* sealShards
      const leases = yield* FileLeases.make(home)
      const first = yield* leases.grant(grantOf(shards))
      assert.deepStrictEqual(yield* leases.grant(grantOf(shards)), first)
      assert.match((yield* Effect.flip(leases.grant(grantOf({ ...shards, slots: [] })))).message, /take a higher one/)
      yield* ask(first.socket, first.tokens[0]!, 0, worker)
      const files = yield* everyFile(home.root)
      for (const token of first.tokens) assert.isEmpty(files.filter((f) => f.text.includes(token)).map((f) => f.path))
      assert.isEmpty(files.filter((f) => f.text.includes("AGE-SECRET-KEY") && !f.path.startsWith(home.keys)).map((f) => f.path))
      // the same search finds what is there
      assert.isNotEmpty(files.filter((f) => f.text.includes("AGE-SECRET-KEY")))
      for (const file of files.filter((f) => f.path.includes("/leases/"))) assert.strictEqual((yield* Effect.promise(() => stat(file.path))).mode & 0o777, 0o600)
      assert.strictEqual((yield* Effect.promise(() => stat(first.socket))).mode & 0o777, 0o666)
      assert.isBelow(Buffer.byteLength(first.socket), 104)
    }))

  test("a new instance restores live leases, and leaves revoked and expired ones closed", (home) =>
    Effect.gen(function*() {
      const shards = yield* sealShards
      const scope = yield* Scope.make()
      const before = yield* Scope.provide(FileLeases.make(home), scope)
      const live = yield* before.grant(grantOf(shards))
      const expired = yield* before.grant(grantOf(shards, { jobId: "expired", expiresAt: 1 }))
      const revoked = yield* before.grant(grantOf(shards, { jobId: "revoked" }))
      yield* before.revoke("revoked")
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* Effect.promise(() => stat(live.socket).then(() => false, () => true)))
      const after = yield* FileLeases.make(home)
      yield* after.restore
      yield* after.restore
      assert.isDefined((yield* ask(live.socket, live.tokens[0]!, 0, worker)).segments)
      for (const { socket } of [expired, revoked]) assert.isTrue(yield* Effect.promise(() => stat(dirname(socket)).then(() => false, () => true)))
    }))

  test("outlives a kill -9 of the daemon: same socket path, same tokens, the log goes on", (home) =>
    Effect.gen(function*() {
      const child = yield* Effect.acquireRelease(
        Effect.sync(() => spawn(process.execPath, [join(import.meta.dirname, "grantAndHang.ts"), home.root, home.cache], { stdio: ["ignore", "pipe", "inherit"] })),
        (process) => Effect.promise(async () => {
          if (process.exitCode === null && process.signalCode === null) {
            process.kill("SIGKILL")
            await once(process, "exit")
          }
        })
      )
      const line = yield* Effect.promise(async () => {
        let text = ""
        for await (const bytes of child.stdout) { text += bytes; if (text.includes("\n")) break }
        return text
      })
      const { shards, socket, tokens } = JSON.parse(line) as { shards: Shards; socket: string; tokens: ReadonlyArray<string> }
      assert.isDefined((yield* ask(socket, tokens[0]!, 0, worker)).segments)
      child.kill("SIGKILL")
      yield* Effect.promise(() => once(child, "exit"))
      const leases = yield* FileLeases.make(home)
      yield* leases.restore
      const reply = yield* ask(socket, tokens[0]!, 0, worker)
      assert.deepStrictEqual((yield* openSegments(reply, shards, worker)).map((s) => s.index), [0, 2, 4])
      assert.deepStrictEqual(yield* leases.grant(grantOf(shards, { expiresAt: Date.now() + 1000_000 })), { socket, tokens })
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 2)
    }))
})

describe("release log", () => {
  const released = Effect.fnUntraced(function*(home: Home) {
    const shards = yield* sealShards
    const leases = yield* FileLeases.make(home)
    const { socket, tokens } = yield* leases.grant(grantOf(shards))
    for (const slot of [0, 1, 0, 1]) assert.isUndefined((yield* ask(socket, tokens[slot]!, slot, worker)).error)
    const directory = join(home.root, "leases")
    const log = join(directory, (yield* Effect.promise(() => readdir(directory))).find((name) => name.endsWith(".log"))!)
    return { leases, log, socket, tokens }
  })

  test("every change to it is found, and nothing is released upon a broken one", (home) =>
    Effect.gen(function*() {
      const { leases, log, socket, tokens } = yield* released(home)
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 4)
      const text = yield* Effect.promise(() => readFile(log, "utf8"))
      const lines = text.trimEnd().split("\n")
      const resigned = JSON.stringify({ ...JSON.parse(lines[1]!), slot: 0 })
      const changes: Record<string, ReadonlyArray<string>> = {
        "a changed slot": [lines[0]!, resigned, ...lines.slice(2)],
        "a changed recipient": [lines[0]!.replace(/age1\w{10}/, "age1qqqqqqqqqq"), ...lines.slice(1)],
        "a removed entry": [lines[0]!, ...lines.slice(2)],
        "the last entry removed": lines.slice(0, -1),
        "all entries removed": [],
        "swapped entries": [lines[1]!, lines[0]!, ...lines.slice(2)],
        "a repeated entry": [...lines, lines[3]!],
        "a foreign line": [...lines, "{}"],
        "another signature": [...lines.slice(0, 3), lines[3]!.replace(/"signature":"./, (m) => `${m.slice(0, -1)}${m.endsWith("A") ? "B" : "A"}`)]
      }
      for (const [name, changed] of Object.entries(changes)) {
        yield* Effect.promise(() => writeFile(log, changed.map((line) => `${line}\n`).join("")))
        assert.match((yield* Effect.flip(leases.releases("run-1/train/1"))).message, /tampered/, name)
        assert.match((yield* ask(socket, tokens[0]!, 0, worker)).error ?? "released", /tampered/, name)
      }
      yield* Effect.promise(() => writeFile(log, text))
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 4)
    }))

  test("a line cut off by a crash was never released: it is dropped and the chain goes on", (home) =>
    Effect.gen(function*() {
      const { leases, log, socket, tokens } = yield* released(home)
      yield* Effect.promise(() => appendFile(log, '{"at":1,"job":"run-1/tr'))
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 4)
      assert.isUndefined((yield* ask(socket, tokens[1]!, 1, worker)).error)
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 5)
    }))

  test("requests at the same time are entered one after the other", (home) =>
    Effect.gen(function*() {
      const { leases, socket, tokens } = yield* released(home)
      yield* Effect.forEach(Array.from({ length: 12 }, (_, i) => i % 2), (slot) => ask(socket, tokens[slot]!, slot, generateIdentity()), { concurrency: "unbounded" })
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 16)
    }))

  test("a destroyed data-set key releases nothing", (home) =>
    Effect.gen(function*() {
      const { leases, socket, tokens } = yield* released(home)
      yield* (yield* Keyring).destroy("dataset/d")
      assert.match((yield* ask(socket, tokens[0]!, 0, worker)).error!, /destroyed/)
      assert.strictEqual((yield* leases.releases("run-1/train/1")).length, 4)
    }))
})
