/** Reads a whole data set once: every row checked, rows and bytes counted, committed to under a salt. For select plugins. */
import { createHmac } from "node:crypto"
import { promises as fs } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { StageError } from "../stage/StageError.ts"
import { invalidDataset, invalidRow, unreadable } from "./DatasetFault.ts"
import { type DataFormat, parseRow } from "./rowFault.ts"
import { rowBatches } from "./RowBatches.ts"
import { sourceTag } from "./sourceTag.ts"

export interface SourceFacts {
  readonly format: DataFormat
  readonly rows: number
  /** of the file */
  readonly bytes: number
  /** `hmac-sha256:<hex>` of the file's bytes under the salt */
  readonly commitment: string
  /** the fast one, see sourceTag.ts */
  readonly tag: string
}

export const commitmentOf = (salt: Buffer) => {
  const hmac = createHmac("sha256", salt)
  return { update: (bytes: Buffer): void => void hmac.update(bytes), digest: (): string => `hmac-sha256:${hmac.digest("hex")}` }
}

export const readSource = Effect.fnUntraced(function*(
  source: { readonly path: string; readonly name: string; readonly format: DataFormat | "auto"; readonly salt: Buffer },
  onProgress: (bytes: number) => Effect.Effect<void> = () => Effect.void
): Effect.fn.Return<SourceFacts, StageError> {
  const { name, path } = source
  const commitment = commitmentOf(source.salt)
  const tag = sourceTag(source.salt)
  let bytes = 0, rows = 0
  let format = source.format === "auto" ? undefined : source.format
  const identity = Effect.tryPromise({ try: () => fs.stat(path, { bigint: true }), catch: (cause) => unreadable(name, cause) }).pipe(
    Effect.map((s) => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}`)
  )
  const before = yield* identity
  const onBytes = (chunk: Buffer) => {
    commitment.update(chunk)
    tag.update(chunk)
    bytes += chunk.length
  }
  yield* Stream.runForEach(rowBatches(path, name, onBytes), (batch) =>
    Effect.gen(function*() {
      for (let i = 0; i < batch.count; i++) {
        const parsed = parseRow(batch.buffer.toString("utf8", batch.starts[i], batch.ends[i]), format)
        if (parsed.fault !== undefined) return yield* invalidRow(name, batch.lines[i] ?? 0, parsed.fault)
        format = parsed.format
      }
      rows += batch.count
      yield* onProgress(bytes)
    }))
  if (format === undefined || rows === 0) return yield* invalidDataset(`The data set ${name} has no rows.`, "Give a JSONL file with at least one row: one JSON object a line.")
  if ((yield* identity) !== before) return yield* invalidDataset(`The data set ${name} was changed while it was being read.`, "Run again when nothing writes to it.")
  const committed = commitment.digest()
  return { format, rows, bytes, commitment: committed, tag: tag.digest(committed) }
})
