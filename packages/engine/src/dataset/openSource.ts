/** A data-set file, open for reading until the scope closes: a regular one, or an error that names what is wrong. Waits for no pipe. */
import { constants, promises as fs } from "node:fs"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { StageError } from "../stage/StageError.ts"
import { invalidDataset, unreadable } from "./DatasetFault.ts"

export const openSource = Effect.fnUntraced(function*(path: string, name: string): Effect.fn.Return<fs.FileHandle, StageError, Scope.Scope> {
  const handle = yield* Effect.acquireRelease(
    Effect.tryPromise({ try: () => fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK), catch: (cause) => unreadable(name, cause) }),
    (h) => Effect.promise(() => h.close().catch(() => undefined))
  )
  const stat = yield* Effect.tryPromise({ try: () => handle.stat(), catch: (cause) => unreadable(name, cause) })
  if (!stat.isFile()) return yield* invalidDataset(`The data set ${name} is not a regular file.`, "Name one JSONL file: one JSON object a line.")
  return handle
})
