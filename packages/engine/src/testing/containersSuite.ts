/**
 * What every Containers must do, against a real engine. `shell` is an image that has /bin/sh and the programs of shellRoot. Call it inside
 * a test file, with a layer that reaches the engine.
 */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import { Containers, type ContainerSpec } from "../capability/Containers.ts"
import { shellRoot } from "./shellRoot.ts"

const SHELL = "hyper-suite-shell:1"
export const MARK = { "ai.hypernode.test": "suite" }

export const shellImage = Effect.flatMap(Containers, (containers) => containers.build({ reference: SHELL, dockerfile: "FROM scratch\nCOPY root/ /\n", context: shellRoot(), labels: MARK }))

export const shellSpec = (script: string, more: Partial<ContainerSpec> = {}): ContainerSpec => ({
  name: `suite-${randomBytes(4).toString("hex")}`,
  image: SHELL,
  labels: MARK,
  command: ["/bin/sh", "-c", script],
  user: "65534:65534",
  network: "none",
  mounts: [],
  tmpfs: {},
  readOnlyRoot: true,
  pids: 64,
  keepLogs: true,
  ...more
})

export const containersSuite = <E>(name: string, layer: Layer.Layer<Containers, E>): void => {
  const test = <A, X>(title: string, body: Effect.Effect<A, X, Containers>) => it.live(title, () => Effect.provide(body, layer), 60_000)

  describe(`${name}: Containers contract`, () => {
    test("builds with progress, labels and tag; again, from the engine's cache, to the same image", Effect.gen(function*() {
      const containers = yield* Containers
      const lines: Array<string> = []
      const spec = { reference: "hyper-suite:built", dockerfile: "FROM scratch\nCOPY a b /\n", context: [{ path: "a", content: "x" }, { path: "b", content: Buffer.alloc(3_000_000, 1) }], labels: { ...MARK, plan: "sha256:1" } }
      const image = yield* containers.build(spec, (line) => lines.push(line))
      assert.isTrue(lines.some((line) => line.startsWith("Step 1")))
      assert.include(image.labels, { plan: "sha256:1" })
      assert.isAbove(image.bytes, 3_000_000)
      assert.deepStrictEqual(yield* containers.build(spec), image)
      assert.deepStrictEqual(yield* containers.image("hyper-suite:built"), image)
      yield* containers.removeImage("hyper-suite:built")
      yield* containers.removeImage("hyper-suite:built")
      assert.isUndefined(yield* containers.image("hyper-suite:built"))
    }))

    test("an instruction that fails, a base that cannot be had: found in the stream, and nothing is tagged", Effect.gen(function*() {
      const containers = yield* Containers
      const failed = yield* Effect.flip(containers.build({ reference: "hyper-suite:bad", dockerfile: `FROM ${SHELL}\nRUN echo said before; exit 9\n`, context: [], labels: MARK, network: "none" }))
      assert.strictEqual(failed.reason, "BuildFailed")
      assert.include(failed.message, "said before")
      assert.include(failed.message, "9")
      // a registry that nobody serves, on loopback
      const missing = yield* Effect.flip(containers.build({ reference: "hyper-suite:bad", dockerfile: "FROM 127.0.0.1:1/none:1\n", context: [], labels: MARK }))
      assert.strictEqual(missing.reason, "NotFound")
      assert.isUndefined(yield* containers.image("hyper-suite:bad"))
    }))

    test("interrupted, a build ends with the instruction that ran", Effect.gen(function*() {
      const containers = yield* Containers
      const begun = yield* Deferred.make<void>()
      const building = yield* Effect.forkChild(containers.build({ reference: "hyper-suite:cut", dockerfile: `FROM ${SHELL}\nRUN echo begun; sleep 600\n`, context: [], labels: MARK, network: "none" }, (line) => {
        if (line === "begun") Deferred.doneUnsafe(begun, Effect.void)
      }))
      yield* Deferred.await(begun)
      const running = () => Effect.map(containers.list({}), (all) => all.filter(({ state }) => state === "running").length)
      for (let i = 0; i < 500 && (yield* running()) === 0; i++) yield* Effect.sleep(20) // it may speak before the engine calls it running
      assert.strictEqual(yield* running(), 1)
      yield* Fiber.interrupt(building)
      for (let i = 0; i < 500 && (yield* running()) > 0; i++) yield* Effect.sleep(20)
      assert.strictEqual(yield* running(), 0)
      assert.isUndefined(yield* containers.image("hyper-suite:cut"))
    }))

    test("exit codes, output, limits of memory and of room told apart", Effect.gen(function*() {
      const containers = yield* Containers
      const run = (script: string, more: Partial<ContainerSpec> = {}) => containers.run(shellSpec(script, more))
      assert.deepInclude(yield* run("echo out; exit 7"), { exitCode: 7, outOfMemory: false, output: "out\n", why: "exit" })
      assert.deepInclude(yield* run("id -u"), { exitCode: 0, output: "65534\n", why: "done" })
      // as an exit code, 137 may be anything
      assert.deepInclude(yield* run("exit 137"), { exitCode: 137, why: "exit" })
      assert.deepInclude(yield* run("exec tail /dev/zero", { memory: 16 << 20 }), { exitCode: 137, outOfMemory: true, why: "memory" })
      // a child was ended, and the container says that all is well
      assert.deepInclude(yield* run("(tail /dev/zero); exit 0", { memory: 16 << 20 }), { exitCode: 0, outOfMemory: true, why: "done" })
      assert.deepInclude(yield* run("head -c 2000000 /dev/zero > /t/x", { tmpfs: { "/t": 1 << 20 } }), { outOfMemory: false, why: "disk" })
      assert.deepStrictEqual(yield* containers.list(MARK), [])
    }))

    test("what was not asked for is not there: capabilities, a network, a writable root, new privileges", Effect.gen(function*() {
      const containers = yield* Containers
      const check = "while read -r name value; do case $name in CapEff:|CapBnd:|NoNewPrivs:|Seccomp:) echo $name $value;; esac; done < /proc/self/status; tail -n +3 /proc/net/dev | while read -r n rest; do echo $n; done; (echo x > /written) 2>/dev/null && echo WRITTEN"
      const closed = yield* containers.run(shellSpec(check))
      assert.sameMembers(closed.output.trim().split("\n"), ["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2", "lo:"])
      // the same check sees a root that may be written
      assert.include((yield* containers.run(shellSpec(check, { readOnlyRoot: false, user: "0:0" }))).output, "WRITTEN")
    }))

    test("starts, is logged, listed by label, killed, removed; each of it twice", Effect.gen(function*() {
      const containers = yield* Containers
      const id = yield* containers.start(shellSpec("echo one; echo two >&2; exec sleep 600", { labels: { ...MARK, "ai.hypernode.run": "r1" } }))
      for (let i = 0; i < 200 && !(yield* containers.logs(id, 10)).includes("two"); i++) yield* Effect.sleep(20)
      assert.sameMembers((yield* containers.logs(id, 10)).trim().split("\n"), ["one", "two"])
      assert.deepInclude((yield* containers.list({ "ai.hypernode.run": "r1" }))[0], { id, state: "running" })
      assert.deepStrictEqual(yield* containers.list({ "ai.hypernode.run": "r2" }), [])
      const ended = yield* Effect.forkChild(containers.ended(id))
      yield* containers.kill(id)
      yield* containers.kill(id)
      assert.deepStrictEqual(yield* Fiber.join(ended), { exitCode: 137, outOfMemory: false })
      assert.deepStrictEqual(yield* containers.ended(id), { exitCode: 137, outOfMemory: false })
      yield* containers.remove(id)
      yield* containers.remove(id)
      assert.strictEqual((yield* Effect.flip(containers.logs(id, 1))).reason, "NotFound")
    }))

    test("interrupted, a run leaves no container", Effect.gen(function*() {
      const containers = yield* Containers
      const running = yield* Effect.forkChild(containers.run(shellSpec("exec sleep 600")))
      for (let i = 0; i < 200 && (yield* containers.list(MARK)).length === 0; i++) yield* Effect.sleep(20)
      assert.lengthOf(yield* containers.list(MARK), 1)
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(yield* containers.list(MARK), [])
    }))

    test("what cannot be started is refused with a remedy, and is not left behind: no image, no GPU, no such program", Effect.gen(function*() {
      const containers = yield* Containers
      assert.strictEqual((yield* Effect.flip(containers.start(shellSpec("true", { image: "hyper-suite:never" })))).reason, "NotFound")
      if (!(yield* containers.engine).gpus) {
        const refused = yield* Effect.flip(containers.start(shellSpec("true", { gpus: "all" })))
        assert.strictEqual(refused.reason, "NoGpu")
        assert.include(refused.remedy, "toolkit")
      }
      assert.strictEqual((yield* Effect.flip(containers.start(shellSpec("", { command: ["/no/such"] })))).reason, "Refused")
      assert.deepStrictEqual(yield* containers.list(MARK), [])
    }))

    test("mounts a directory to read, or to write, and nothing else of the host", Effect.gen(function*() {
      const containers = yield* Containers
      const directory = mkdtempSync(join(tmpdir(), "hyper-mount-"))
      try {
        writeFileSync(join(directory, "f"), "given", { mode: 0o644 })
        const mount = (readOnly: boolean) => ({ user: `${process.getuid?.()}:${process.getgid?.()}`, mounts: [{ source: directory, target: "/m", readOnly }] })
        assert.deepInclude(yield* containers.run(shellSpec("cat /m/f; echo more > /m/f", mount(true))), { exitCode: 2 })
        assert.strictEqual((yield* containers.run(shellSpec("echo more > /m/f && cat /m/f", mount(false)))).output, "more\n")
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    }))
  })
}
