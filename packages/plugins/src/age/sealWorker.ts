/**
 * Worker thread: seals segments. Rows and files stand in shared memory that goes round, so that nothing is copied between threads; moving
 * ordinary buffers instead makes V8 collect garbage for every few segments, at half the cost of all the work.
 */
import { parentPort } from "node:worker_threads"
import { type SealedBytes, type SealJob, sealSegment } from "./sealSegment.ts"

export interface SealRequest extends SealJob {
  readonly id: number
}

/** `fault` names what failed, never the data. */
export type SealReply = (SealedBytes & { readonly id: number; readonly fault?: never }) | { readonly id: number; readonly fault: string }

const reply = (message: SealReply): void => parentPort?.postMessage(message, [])

parentPort?.on("message", (request: SealRequest) => {
  sealSegment(request).then(
    (sealed) => reply({ id: request.id, ...sealed }),
    (error: unknown) => reply({ id: request.id, fault: error instanceof Error ? error.name : "unknown failure" })
  )
})
