/** A data-set file of this machine as a source reference: read once, every row checked, committed to, copied nowhere. For select plugins. */
import { createHash, randomBytes } from "node:crypto"
import { realpath } from "node:fs/promises"
import { basename } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { Keyring } from "../keys/Keyring.ts"
import { Progress } from "../stage/Progress.ts"
import { StageError } from "../stage/StageError.ts"
import type { SourceRef } from "../stage/values.ts"
import { unreadable } from "./DatasetFault.ts"
import { readSource } from "./readSource.ts"
import type { DataFormat } from "./rowFault.ts"

/** `name` is what the data set is called where its path is not what a user gave (a cache's). */
export const selectFile = Effect.fn("dataset.selectFile")(function*(
  given: string,
  format: DataFormat | "auto",
  name: string = basename(given)
): Effect.fn.Return<SourceRef, StageError, Keyring | Progress> {
  const keyring = yield* Keyring
  const progress = yield* Progress
  const path = yield* Effect.tryPromise({ try: () => realpath(given), catch: (cause) => unreadable(given, cause) })
  // One salt for each file of this home, so that an unchanged file keeps its commitment from run to run.
  const saltKey = `salt/${createHash("sha256").update(path).digest("hex").slice(0, 32)}`
  const salt = yield* Effect.mapError(
    keyring.getOrCreate(saltKey, () => randomBytes(32).toString("base64")),
    (error) => new StageError({ reason: "Unavailable", message: error.message })
  )
  const facts = yield* readSource({ path, name, format, salt: Buffer.from(Redacted.value(salt), "base64") }, (done) => progress.report({ done, unit: "bytes", label: `checking ${name}` }))
  yield* progress.log(`${name}: ${facts.rows} ${facts.format} rows, ${facts.bytes} bytes, all well-formed`)
  return { name, uri: path, ...facts, saltKey }
})
