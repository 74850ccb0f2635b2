/** A build's context as a tar stream: fixed times, owners and modes, files read while they are sent. */
import { createReadStream } from "node:fs"
import { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Tar from "effect/encoding/Tar"
import type { ContextEntry } from "../capability/Containers.ts"

const CHUNK = 1 << 20

const entryOf = (entry: ContextEntry): Tar.Entry<Error> => {
  if ("link" in entry) return Tar.symlink(entry.path, entry.link)
  if ("mode" in entry) return Tar.directory(entry.path, { mode: entry.mode })
  const options = entry.executable === true ? { mode: 0o755 } : {}
  if ("content" in entry) return Tar.file(entry.path, entry.content, options)
  const bytes = Stream.suspend(() => Stream.fromAsyncIterable(createReadStream(entry.file, { highWaterMark: CHUNK }) as AsyncIterable<Uint8Array>, (cause) => cause as Error))
  return Tar.fileStream(entry.path, entry.size, bytes, options)
}

export const contextTar = (entries: ReadonlyArray<ContextEntry>): Readable => {
  const encoded = Stream.fromIterable(entries.map(entryOf)).pipe(Stream.pipeThroughChannel(Tar.encode<Error, unknown, Tar.Entry<Error>>()))
  return Readable.fromWeb(Effect.runSync(Stream.toReadableStreamEffect(encoded)) as import("node:stream/web").ReadableStream, { highWaterMark: CHUNK })
}
