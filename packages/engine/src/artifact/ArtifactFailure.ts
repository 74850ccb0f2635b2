/** How a file-system failure becomes an `ArtifactIo`: what was being done, where, and what to do next. */
import * as Effect from "effect/Effect"
import { ArtifactIo } from "./ArtifactStore.ts"

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: free some space, or set HYPER_HOME to a directory on a larger disk",
  EDQUOT: "the disk quota is used up: free some space, or set HYPER_HOME to a directory on another disk",
  EROFS: "the file system is read-only: set HYPER_HOME to a directory that can be written",
  EACCES: "permission denied: check who owns the file and its directory",
  EPERM: "not permitted: check who owns the file and its directory",
  ENOENT: "no such file or directory",
  ELOOP: "it is a symbolic link, and links are refused: give the file itself",
  EMFILE: "too many open files: raise `ulimit -n`",
  EIO: "the disk reported an error: check its health"
}

export const artifactIo = (what: string, cause: unknown): ArtifactIo => {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "EUNKNOWN"
  return new ArtifactIo({ code, message: `${what}: ${remedies[code] ?? (cause instanceof Error ? cause.message : String(cause))} (${code})` })
}

export const refused = (code: string, message: string): ArtifactIo => new ArtifactIo({ code, message })

/** One file-system call. Not interruptible, so that nothing is left running behind an interrupted fiber: interruption waits for the call. */
export const io = <A>(what: string, call: () => Promise<A>): Effect.Effect<A, ArtifactIo> =>
  Effect.uninterruptible(Effect.tryPromise({ try: call, catch: (cause) => artifactIo(what, cause) }))
