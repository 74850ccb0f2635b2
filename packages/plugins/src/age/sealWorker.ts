/**
 * Worker thread: seals segments, each into a file of its own. Calls block: a thread has nothing else to do, and a segment is sealed,
 * digested and written piece by piece while it is in the processor's cache.
 */
import { parentPort } from "node:worker_threads"
import { type StagedFile, writeStaged } from "@hypernode/engine/artifact/stagedFile"
import { sealFileTo } from "@hypernode/engine/keys/age/File"
import { type SealJob, sealSegment } from "./sealSegment.ts"

export interface SealRequest extends SealJob {
  readonly id: number
  readonly path: string
}

/** `fault` names what failed, never the data; `code` is the system's, where it refused the file. */
export type SealReply =
  | { readonly id: number; readonly file: StagedFile; readonly tokens: number | undefined; readonly fault?: never }
  | { readonly id: number; readonly fault: string; readonly code?: string }

const reply = (message: SealReply): void => parentPort?.postMessage(message, [])

parentPort?.on("message", (request: SealRequest) => {
  sealSegment(request, (bytes, recipients) => writeStaged(request.path, (write) => sealFileTo(write, bytes, recipients))).then(
    ({ stored, tokens }) => reply({ id: request.id, file: stored, tokens }),
    (error: unknown) => {
      const code = error instanceof Error && "syscall" in error && "code" in error ? { code: String(error.code) } : {}
      reply({ id: request.id, fault: error instanceof Error ? error.name : "unknown failure", ...code })
    }
  )
})
