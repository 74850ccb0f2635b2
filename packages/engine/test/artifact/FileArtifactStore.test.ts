import { execFileSync } from "node:child_process"
import { chmod, link, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { type ArtifactIo, ArtifactStore } from "../../src/artifact/ArtifactStore.ts"
import { digestOf } from "../../src/artifact/Digest.ts"
import { writeStaged } from "../../src/artifact/stagedFile.ts"
import * as FileArtifactStore from "../../src/artifact/FileArtifactStore.ts"
import { artifactStoreSuite } from "../../src/testing/artifactStoreSuite.ts"

const temporary = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "artifacts-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

artifactStoreSuite("file", Layer.effect(ArtifactStore, Effect.flatMap(temporary, FileArtifactStore.make)))

const blob = (root: string, digest: string) => join(root, "blobs", "sha256", digest.slice(7))
const files = (root: string) => Effect.promise(() => readdir(root, { recursive: true, withFileTypes: true }).then((all) => all.filter((e) => e.isFile()).map((e) => e.name)))

describe("FileArtifactStore", () => {
  it.effect("takes the digest of a staged file on trust, and finds a wrong one when it reads", () =>
    Effect.gen(function*() {
      const store = yield* FileArtifactStore.make(yield* temporary)
      const staging = yield* store.staging
      const file = writeStaged(staging.path(), (write) => write(Buffer.from("these")))
      const wrong = yield* staging.put({ ...file, digest: digestOf("those") }, "text/plain")
      assert.strictEqual((yield* Effect.flip(store.read(wrong)))._tag, "ArtifactCorrupt")
    }).pipe(Effect.scoped))

  it.effect("finds a flipped bit on every kind of read, also after a good one", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      const store = yield* FileArtifactStore.make(root)
      const ref = yield* store.put("important", "text/plain")
      const path = yield* store.path(ref)
      assert.strictEqual(path, blob(root, ref.digest))
      yield* Effect.promise(async () => {
        await chmod(path, 0o644)
        await writeFile(path, "imp0rtant")
        await utimes(path, 1, 1)
      })
      for (const effect of [store.read(ref), store.path(ref), Stream.runDrain(store.stream(ref))]) {
        const error = yield* Effect.flip(effect as Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>)
        assert.strictEqual(error._tag, "ArtifactCorrupt")
        assert.include(error.message, path)
      }
      // storing the same bytes again heals it
      yield* store.put("important", "text/plain")
      assert.strictEqual(Buffer.from(yield* store.read(ref)).toString(), "important")
      yield* store.path(ref)
    }))

  it.effect("a tampered blob is not laid out", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      const store = yield* FileArtifactStore.make(join(root, "store"))
      yield* Effect.promise(() => mkdir(join(root, "in")).then(() => writeFile(join(root, "in", "w"), "weights")))
      const ref = yield* store.putTree(join(root, "in"))
      const path = blob(join(root, "store"), digestOf("weights"))
      yield* Effect.promise(() => chmod(path, 0o644).then(() => writeFile(path, "w3ights")))
      assert.strictEqual((yield* Effect.flip(store.materialize(ref, join(root, "out"))))._tag, "ArtifactCorrupt")
      assert.deepStrictEqual(yield* files(join(root, "out")), [])
    }))

  it.effect("hard-links what it lays out, and does not move a file that has another name", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      const store = yield* FileArtifactStore.make(join(root, "store"))
      yield* Effect.promise(async () => {
        await mkdir(join(root, "in"))
        await writeFile(join(root, "in", "a"), "shared")
        await link(join(root, "in", "a"), join(root, "other-name"))
      })
      const ref = yield* store.putTree(join(root, "in"), { move: true })
      assert.deepStrictEqual(yield* files(join(root, "in")), [])
      yield* Effect.promise(() => writeFile(join(root, "other-name"), "written through the other name"))
      yield* store.materialize(ref, join(root, "out"))
      const [laid, stored] = yield* Effect.promise(() => Promise.all([stat(join(root, "out", "a")), stat(blob(join(root, "store"), digestOf("shared")))]))
      assert.strictEqual(laid.ino, stored.ino)
      assert.strictEqual(yield* Effect.promise(() => readFile(join(root, "out", "a"), "utf8")), "shared")
    }))

  it.effect("an interrupted put leaves no file", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      const store = yield* FileArtifactStore.make(root)
      const fiber = yield* Effect.forkChild(store.putStream(Stream.concat(Stream.make(Buffer.from("begun")), Stream.never), "text/plain"), { startImmediately: true })
      yield* Effect.promise(async () => {
        while ((await readdir(join(root, "tmp"))).length === 0) await new Promise((go) => setImmediate(go))
      })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* files(root), [])
    }))

  it.effect("removes what a killed process left, not what is being written", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      yield* FileArtifactStore.make(root)
      yield* Effect.promise(async () => {
        await writeFile(join(root, "tmp", "old"), "x")
        await utimes(join(root, "tmp", "old"), 1, 1)
        await writeFile(join(root, "tmp", "young"), "x")
        await mkdir(join(root, "tmp", "staging"))
        await writeFile(join(root, "tmp", "staging", "0"), "x")
        await utimes(join(root, "tmp", "staging"), 1, 1)
      })
      yield* FileArtifactStore.make(root)
      assert.deepStrictEqual(yield* files(root), ["young"])
    }))

  const mountable = process.platform === "linux" && process.getuid?.() === 0
  it.effect.skipIf(!mountable)("a full disk: ENOSPC, nothing half-written, usable afterwards (needs root, for a small tmpfs)", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      yield* Effect.acquireRelease(
        Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", root])),
        () => Effect.sync(() => execFileSync("umount", [root]))
      )
      const store = yield* FileArtifactStore.make(root)
      const kept = yield* store.put(Buffer.alloc(300_000, 1), "application/octet-stream")
      const error = (yield* Effect.flip(store.put(Buffer.alloc(2_000_000, 2), "application/octet-stream"))) as ArtifactIo
      assert.strictEqual(error._tag, "ArtifactIo")
      assert.strictEqual(error.code, "ENOSPC")
      assert.include(error.message, "HYPER_HOME")
      assert.deepStrictEqual(yield* files(root), [kept.digest.slice(7)])
      yield* store.put(Buffer.alloc(300_000, 3), "application/octet-stream")
      yield* store.read(kept)
    }))

  it.effect.skipIf(!mountable)("copies across devices, and moves across them (needs root, for a tmpfs)", () =>
    Effect.gen(function*() {
      const root = yield* temporary
      const other = yield* temporary
      yield* Effect.acquireRelease(
        Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", other])),
        () => Effect.sync(() => execFileSync("umount", [other]))
      )
      const store = yield* FileArtifactStore.make(root)
      yield* Effect.promise(() => mkdir(join(other, "in")).then(() => writeFile(join(other, "in", "a"), "across")))
      const ref = yield* store.putTree(join(other, "in"), { move: true })
      assert.deepStrictEqual(yield* files(join(other, "in")), [])
      yield* store.materialize(ref, join(other, "out"))
      yield* store.materialize(ref, join(other, "out"))
      const laid = yield* Effect.promise(() => stat(join(other, "out", "a")))
      assert.strictEqual(laid.mode & 0o777, 0o444)
      assert.deepStrictEqual(yield* files(join(other, "out")), ["a"])
    }))
})
