/** The default ArtifactStore: one file a blob under `<home>/artifacts/blobs/sha256/<hex>`. */
import { constants, promises as fs } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { CurrentHome } from "../capability/CurrentHome.ts"
import { type ArtifactRef, Tree, TREE_MEDIA_TYPE } from "./Artifact.ts"
import { io } from "./ArtifactFailure.ts"
import { ArtifactCorrupt, ArtifactStore } from "./ArtifactStore.ts"
import { fileChunks, makeBlobReader, openRegular } from "./BlobReader.ts"
import { type BlobDirectories, blobPath, openBlobWriter, syncDirectory } from "./BlobWriter.ts"
import { canonicalJson } from "./Digest.ts"
import { digestOfHandle } from "./digestOfFile.ts"
import { materializeFiles } from "./materialize.ts"
import { openStaging } from "./Staging.ts"
import { listFiles, treeFault } from "./TreePaths.ts"

/** A temporary file, or a directory of them, that nobody has written to for so long was left by a killed process. */
const STALE_MILLIS = 3_600_000

/** From so many bytes on, handing a digest to another thread costs less than it blocks this one. */
const OTHER_THREAD_BYTES = 256 << 10

const decodeTree = Schema.decodeUnknownEffect(Schema.fromJsonString(Tree))

const prepare = (directories: BlobDirectories) =>
  io(`preparing the artifact store ${directories.blobs}`, async () => {
    await fs.mkdir(directories.blobs, { recursive: true, mode: 0o700 })
    await fs.mkdir(directories.temporary, { recursive: true, mode: 0o700 })
    for (const name of await fs.readdir(directories.temporary)) {
      const path = join(directories.temporary, name)
      const stat = await fs.lstat(path).catch(() => undefined)
      if (stat !== undefined && Date.now() - stat.mtimeMs > STALE_MILLIS) await fs.rm(path, { recursive: true, force: true })
    }
  })

export const make = Effect.fnUntraced(function*(root: string) {
  const directories: BlobDirectories = { blobs: join(root, "blobs", "sha256"), temporary: join(root, "tmp") }
  yield* prepare(directories)
  const reader = makeBlobReader(directories)

  const putStream = <E>(bytes: Stream.Stream<Uint8Array, E>, mediaType: string, sync = true) =>
    Effect.scoped(
      Effect.gen(function*() {
        const writer = yield* openBlobWriter(directories)
        yield* Stream.runForEach(bytes, writer.write)
        const { digest, size } = yield* writer.commit({ syncDirectory: sync })
        return { digest, size, mediaType } satisfies ArtifactRef
      })
    )

  const put = (content: Uint8Array | string, mediaType: string) =>
    Effect.scoped(
      Effect.gen(function*() {
        const bytes = typeof content === "string" ? Buffer.from(content) : content
        const writer = yield* openBlobWriter(directories)
        yield* bytes.length < OTHER_THREAD_BYTES ? writer.write(bytes) : writer.writeWhole(bytes)
        const { digest, size } = yield* writer.commit()
        return { digest, size, mediaType } satisfies ArtifactRef
      })
    )

  /** A file with other names could be written through them, so only a sole name is moved; otherwise, and across devices, it is copied. */
  const move = Effect.fnUntraced(function*(path: string, handle: fs.FileHandle, mediaType: string, sync: boolean) {
    const what = `moving ${path} into the artifact store`
    const stat = yield* io(what, () => handle.stat())
    const device = (yield* io(what, () => fs.stat(directories.blobs))).dev
    if (stat.nlink !== 1 || stat.dev !== device) {
      const ref = yield* putStream(fileChunks(handle, what), mediaType, sync)
      yield* io(what, () => fs.rm(path, { force: true }))
      return ref
    }
    const { digest, size } = yield* digestOfHandle(handle, what)
    yield* io(what, async () => {
      await handle.chmod(0o444)
      await handle.datasync()
      await fs.rename(path, blobPath(directories, digest))
    })
    if (sync) yield* syncDirectory(directories.blobs)
    return { digest, size, mediaType } satisfies ArtifactRef
  })

  const putFile = (path: string, mediaType: string, options?: { readonly move?: boolean }, sync = true) =>
    Effect.scoped(
      Effect.gen(function*() {
        const what = `storing ${path}`
        const handle = yield* Effect.acquireRelease(openRegular(path, what), (h) => Effect.promise(() => h.close().catch(() => undefined)))
        return options?.move === true ? yield* move(path, handle, mediaType, sync) : yield* putStream(fileChunks(handle, what), mediaType, sync)
      })
    )

  const putTree = Effect.fn("FileArtifactStore.putTree")(function*(directory: string, options?: { readonly move?: boolean }) {
    const files: Array<Tree["files"][number]> = []
    for (const path of yield* listFiles(directory)) {
      // The tree document is stored last, in the same directory: its sync covers them all.
      const { digest, size } = yield* putFile(join(directory, path), "application/octet-stream", options, false)
      files.push({ path, digest, size })
    }
    return yield* put(canonicalJson({ files }), TREE_MEDIA_TYPE)
  })

  const tree = Effect.fn("FileArtifactStore.tree")(function*(ref: ArtifactRef) {
    const text = Buffer.from(yield* reader.read(ref)).toString("utf8")
    const decoded = yield* Effect.mapError(decodeTree(text), () => notATree(ref, "the document is not a tree"))
    const fault = treeFault(decoded)
    if (fault !== undefined) return yield* notATree(ref, fault)
    return decoded
  })

  const notATree = (ref: ArtifactRef, fault: string) =>
    new ArtifactCorrupt({ digest: ref.digest, path: blobPath(directories, ref.digest), message: `Artifact ${ref.digest} is not a directory that can be laid out: ${fault}. Run the step that made it again.` })

  return ArtifactStore.of({
    put,
    putStream,
    putFile,
    putTree,
    staging: openStaging(directories),
    read: reader.read,
    stream: reader.stream,
    tree,
    materialize: Effect.fn("FileArtifactStore.materialize")(function*(ref, directory) {
      yield* materializeFiles(yield* tree(ref), directory, reader)
    }),
    path: reader.verified,
    has: (digest) =>
      /^sha256:[0-9a-f]{64}$/.test(digest)
        ? Effect.promise(() => fs.access(blobPath(directories, digest), constants.R_OK).then(() => true, () => false))
        : Effect.succeed(false)
  })
})

/** Fails only where the directory cannot be made. */
export const layer = Layer.effect(ArtifactStore, Effect.flatMap(CurrentHome, (home) => make(home.artifacts)))
