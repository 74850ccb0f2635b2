/** Worker thread: one segment in, one age file out and the segment's memory back; all of it moves, nothing is copied. */
import { parentPort } from "node:worker_threads"
import { type SealJob, sealSegment } from "./sealSegment.ts"

export interface SealRequest extends SealJob {
  readonly id: number
}

/** `fault` names what failed, never the data. */
export type SealReply =
  | { readonly id: number; readonly plain: ArrayBuffer; readonly file: Uint8Array<ArrayBuffer>; readonly tokens: number | undefined; readonly fault?: never }
  | { readonly id: number; readonly fault: string }

parentPort?.on("message", (request: SealRequest) => {
  sealSegment(request).then(
    ({ file, tokens }) => parentPort?.postMessage({ id: request.id, plain: request.bytes.buffer, file, tokens } satisfies SealReply, [file.buffer, request.bytes.buffer]),
    (error: unknown) => parentPort?.postMessage({ id: request.id, fault: error instanceof Error ? error.name : "unknown failure" } satisfies SealReply, [])
  )
})
