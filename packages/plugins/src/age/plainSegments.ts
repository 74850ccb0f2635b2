/** The segments of a data-set file as it is read: a segment is asked for when there is a thread for it, so that memory does not grow with the file. */
import type { FileHandle } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { unreadable } from "@hypernode/engine/dataset/DatasetFault"
import { openSource } from "@hypernode/engine/dataset/openSource"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { PlainSegment, Segmenter } from "./Segmenter.ts"

async function* segments(handle: FileHandle, segmenter: Segmenter, onBytes: (bytes: Buffer) => void): AsyncGenerator<PlainSegment> {
  for (;;) {
    const space = segmenter.space()
    const { bytesRead } = await handle.read(space, 0, space.length, null)
    if (bytesRead === 0) break
    onBytes(space.subarray(0, bytesRead))
    yield* segmenter.push(bytesRead)
  }
  yield* segmenter.end()
}

/** `onBytes` sees every byte of the file once, in order. `name` is what errors call the file. */
export const plainSegments = (path: string, name: string, segmenter: Segmenter, onBytes: (bytes: Buffer) => void): Stream.Stream<PlainSegment, StageError> =>
  Stream.unwrap(
    Effect.map(openSource(path, name), (handle) =>
      Stream.fromAsyncIterable(segments(handle, segmenter, onBytes), (cause) => (cause instanceof StageError ? cause : unreadable(name, cause))))
  )
