/** What every ArtifactStore must do. Call it inside a test file with a layer that makes an empty store. */
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { TREE_MEDIA_TYPE } from "../artifact/Artifact.ts"
import { type ArtifactCorrupt, type ArtifactIo, ArtifactStore } from "../artifact/ArtifactStore.ts"
import { digestOf } from "../artifact/Digest.ts"
import { writeStaged } from "../artifact/stagedFile.ts"

const directory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "artifact-suite-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)
const absent = digestOf("never stored")

export const artifactStoreSuite = <E>(name: string, store: Layer.Layer<ArtifactStore, E>): void => {
  const test = <A, X>(title: string, body: Effect.Effect<A, X, ArtifactStore | import("effect/Scope").Scope>) => it.effect(title, () => Effect.provide(body, store, { local: true }))

  describe(`${name}: ArtifactStore contract`, () => {
    test("gives back what was put, under the digest of the bytes", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const ref = yield* artifacts.put("hello", "text/plain")
      assert.deepStrictEqual(ref, { digest: digestOf("hello"), size: 5, mediaType: "text/plain" })
      assert.strictEqual(Buffer.from(yield* artifacts.read(ref)).toString(), "hello")
      assert.deepStrictEqual(yield* artifacts.put("hello", "text/plain"), ref)
      assert.isTrue(yield* artifacts.has(ref.digest))
      const empty = yield* artifacts.put("", "text/plain")
      assert.strictEqual((yield* artifacts.read(empty)).length, 0)
    }))

    test("keeps no hold of the caller's memory, small or large", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      for (const size of [10, 3_000_000]) {
        const bytes = Buffer.alloc(size, 1)
        const ref = yield* artifacts.put(bytes, "application/octet-stream")
        assert.strictEqual(ref.digest, digestOf(bytes))
        bytes.fill(2)
        assert.strictEqual(digestOf(yield* artifacts.read(ref)), ref.digest)
      }
    }))

    test("streams in and out", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const parts = Array.from({ length: 40 }, (_, i) => Buffer.alloc(100_003, i))
      const ref = yield* artifacts.putStream(Stream.fromIterable(parts), "application/octet-stream")
      assert.strictEqual(ref.digest, digestOf(Buffer.concat(parts)))
      const out = Buffer.concat(Array.from(yield* Stream.runCollect(artifacts.stream(ref))))
      assert.strictEqual(digestOf(out), ref.digest)
    }))

    test("a stream that fails stores nothing and fails with its own error", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const bytes = Buffer.from("half of it")
      const error = yield* Effect.flip(artifacts.putStream(Stream.concat(Stream.make(bytes), Stream.fail("stopped" as const)), "text/plain"))
      assert.strictEqual(error, "stopped")
      assert.isFalse(yield* artifacts.has(digestOf(bytes)))
    }))

    test("takes in files that were written for it elsewhere, and forgets the others", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const pieces = [Buffer.from("one "), Buffer.alloc(300_000, 7), Buffer.from(" end")]
      const [kept, left] = yield* Effect.scoped(Effect.gen(function*() {
        const staging = yield* artifacts.staging
        const [first, second] = [staging.path(), staging.path()]
        assert.notStrictEqual(first, second)
        const file = writeStaged(first, (write) => pieces.forEach(write))
        assert.throws(() => writeStaged(second, (write) => { write(Buffer.from("half of it")); throw new Error("stopped") }), /stopped/)
        const ref = yield* staging.put(file, "text/plain")
        yield* staging.sync
        assert.isTrue(yield* Effect.promise(() => stat(second).then(() => true)))
        return [ref, second] as const
      }))
      assert.deepStrictEqual(kept, { digest: digestOf(Buffer.concat(pieces)), size: 300_008, mediaType: "text/plain" })
      assert.isTrue(Buffer.concat(pieces).equals(yield* artifacts.read(kept)))
      assert.strictEqual(yield* Effect.promise(() => stat(left).then(() => "there", () => "gone")), "gone")
      assert.isFalse(yield* artifacts.has(digestOf("half of it")))
      const path = yield* artifacts.path(kept)
      assert.strictEqual((yield* Effect.promise(() => stat(path))).mode & 0o777, 0o444)
    }))

    test("says what is missing", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const ref = { digest: absent, size: 1, mediaType: "text/plain" }
      for (const effect of [artifacts.read(ref), artifacts.path(ref), Stream.runDrain(artifacts.stream(ref)), artifacts.tree(ref)]) {
        const error = yield* Effect.flip(effect as Effect.Effect<unknown, { readonly _tag: string; readonly message: string }>)
        assert.strictEqual(error._tag, "ArtifactMissing")
        assert.include(error.message, absent)
      }
      assert.isFalse(yield* artifacts.has(absent))
      assert.isFalse(yield* artifacts.has("../../etc/passwd"))
    }))

    test("a wrong size is corrupt", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const ref = yield* artifacts.put("hello", "text/plain")
      assert.strictEqual((yield* Effect.flip(artifacts.read({ ...ref, size: 4 })))._tag, "ArtifactCorrupt")
    }))

    test("copies or moves a file in", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const root = yield* directory
      const file = join(root, "a")
      yield* Effect.promise(() => writeFile(file, "file bytes"))
      const ref = yield* artifacts.putFile(file, "text/plain")
      assert.strictEqual(ref.digest, digestOf("file bytes"))
      yield* Effect.promise(() => writeFile(file, "changed afterwards"))
      assert.strictEqual(Buffer.from(yield* artifacts.read(ref)).toString(), "file bytes")
      const moved = yield* artifacts.putFile(file, "text/plain", { move: true })
      assert.strictEqual(Buffer.from(yield* artifacts.read(moved)).toString(), "changed afterwards")
      assert.isTrue(yield* Effect.promise(() => stat(file).then(() => false, () => true)))
    }))

    test("stores a directory and lays it out again, read-only and idempotently", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const root = yield* directory
      yield* Effect.promise(async () => {
        await mkdir(join(root, "in", "sub", "deep"), { recursive: true })
        await writeFile(join(root, "in", "b.txt"), "b")
        await writeFile(join(root, "in", "a.txt"), "a")
        await writeFile(join(root, "in", "sub", "deep", "c.txt"), "c")
      })
      const ref = yield* artifacts.putTree(join(root, "in"))
      assert.strictEqual(ref.mediaType, TREE_MEDIA_TYPE)
      assert.deepStrictEqual((yield* artifacts.tree(ref)).files.map((f) => f.path), ["a.txt", "b.txt", "sub/deep/c.txt"])
      assert.deepStrictEqual(yield* artifacts.putTree(join(root, "in")), ref)
      for (const _ of [1, 2]) yield* artifacts.materialize(ref, join(root, "out"))
      assert.strictEqual(yield* Effect.promise(() => readFile(join(root, "out", "sub", "deep", "c.txt"), "utf8")), "c")
      assert.strictEqual((yield* Effect.promise(() => stat(join(root, "out", "a.txt")))).mode & 0o777, 0o444)
      // A file that was replaced in the laid-out directory is put right.
      yield* Effect.promise(() => rm(join(root, "out", "a.txt")).then(() => writeFile(join(root, "out", "a.txt"), "tampered")))
      yield* artifacts.materialize(ref, join(root, "out"))
      assert.strictEqual(yield* Effect.promise(() => readFile(join(root, "out", "a.txt"), "utf8")), "a")
    }))

    test("refuses symbolic links, going in and laying out", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const root = yield* directory
      yield* Effect.promise(async () => {
        await mkdir(join(root, "in", "sub"), { recursive: true })
        await mkdir(join(root, "elsewhere"))
        await writeFile(join(root, "in", "sub", "a"), "a")
      })
      const ref = yield* artifacts.putTree(join(root, "in"))
      yield* Effect.promise(async () => {
        await symlink("/etc/hostname", join(root, "in", "link"))
        await mkdir(join(root, "out"))
        await symlink(join(root, "elsewhere"), join(root, "out", "sub"))
      })
      const going = (yield* Effect.flip(artifacts.putTree(join(root, "in")))) as ArtifactIo
      assert.strictEqual(going._tag, "ArtifactIo")
      assert.include(going.message, "link")
      assert.strictEqual((yield* Effect.flip(artifacts.putFile(join(root, "in", "link"), "text/plain")))._tag, "ArtifactIo")
      assert.strictEqual((yield* Effect.flip(artifacts.materialize(ref, join(root, "out"))))._tag, "ArtifactIo")
      assert.isTrue(yield* Effect.promise(() => stat(join(root, "elsewhere", "a")).then(() => false, () => true)))
    }))

    test("refuses trees whose paths lead out", Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const root = yield* directory
      const { digest, size } = yield* artifacts.put("x", "text/plain")
      for (const paths of [["../x"], ["/x"], ["a/../../x"], ["a//x"], ["."], [""], ["a\\..\\x"], ["a\0"], ["x", "x"], ["x", "x/y"]]) {
        const ref = yield* artifacts.put(JSON.stringify({ files: paths.map((path) => ({ path, digest, size })) }), TREE_MEDIA_TYPE)
        const error = (yield* Effect.flip(artifacts.materialize(ref, join(root, "out")))) as ArtifactCorrupt
        assert.strictEqual(error._tag, "ArtifactCorrupt", JSON.stringify(paths))
      }
      assert.isTrue(yield* Effect.promise(() => stat(join(root, "x")).then(() => false, () => true)))
    }))
  })
}
