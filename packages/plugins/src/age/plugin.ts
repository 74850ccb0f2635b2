/**
 * `age` (encrypt): streams the data set from where it lies and seals it as segments of whole records. Memory does not grow with the
 * data; plaintext is never written. Who may open a segment: the home's data-set key (`dataset/<id>` in the keyring) and the owner's
 * extra recipients; workers get re-wrapped headers through Leases.
 */
import { availableParallelism } from "node:os"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { invalidDataset } from "@hypernode/engine/dataset/DatasetFault"
import { sourceCheck } from "@hypernode/engine/dataset/sourceCheck"
import { decodeRecipient, generateIdentity, recipientOf } from "@hypernode/engine/keys/age/X25519"
import { Keyring, type KeyMissing, type KeyringIo } from "@hypernode/engine/keys/Keyring"
import { definePlugin, stage, type StageContext } from "@hypernode/engine/plugin/Plugin"
import type { Kinds } from "@hypernode/engine/stage/kinds"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { Model, Sealed, Segment, SourceRef } from "@hypernode/engine/stage/values"
import { Options } from "./Options.ts"
import { plainSegments } from "./plainSegments.ts"
import { sealInPlace } from "./Sealer.ts"
import { makeSealPool } from "./SealPool.ts"
import { Segmenter } from "./Segmenter.ts"
import { tokenizerFiles } from "./tokenizerFiles.ts"

/** Below this, starting threads costs more than they save. */
const THREADS_FROM_BYTES = 16 << 20
/** Counting tokens is a thousand times slower than sealing. */
const THREADS_FROM_BYTES_WITH_TOKENS = 256 << 10
const SEGMENTS_OF_A_SMALL_SET = 16

const keyFailure = (error: KeyMissing | KeyringIo): StageError =>
  new StageError({ reason: error._tag === "KeyMissing" ? "Missing" : "Unavailable", message: error.message })

const isRecipient = (recipient: string): boolean => {
  try {
    decodeRecipient(recipient)
    return true
  } catch {
    return false
  }
}

const pathOf = (dataset: SourceRef): Effect.Effect<string, StageError> => {
  if (dataset.uri.startsWith("file://")) return Effect.sync(() => fileURLToPath(dataset.uri))
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(dataset.uri)) return Effect.fail(invalidDataset(`The data set ${dataset.name} is at a URL; age() reads files of this machine.`, "Select it with a plugin that downloads it, or download it and use local()."))
  return Effect.succeed(dataset.uri)
}

const note = Effect.fnUntraced(function*(message: string, level?: "warn") {
  yield* (yield* Progress).log(message, level)
})

const tokenizerOf = Effect.fnUntraced(function*(model: Model | undefined) {
  if (model === undefined) return undefined
  const files = yield* tokenizerFiles(model)
  if (!("fault" in files)) return files
  yield* note(`tokens of ${model.name} are not counted here (${files.fault}); shards will be balanced by bytes`)
  return undefined
})

/** Threads beside the one that reads; a data set that fits a few segments is sealed in place. */
const threadsFor = (bytes: number, counting: boolean): number =>
  bytes < (counting ? THREADS_FROM_BYTES_WITH_TOKENS : THREADS_FROM_BYTES) ? 0 : Math.min(4, availableParallelism())

/** The same content keeps its key from run to run; `hyper keys destroy` ends that. */
const dataKey = Effect.fnUntraced(function*(dataset: SourceRef) {
  const keyId = `dataset/${dataset.commitment.replace(/^.*:/, "").slice(0, 32)}`
  const identity = yield* Effect.mapError((yield* Keyring).getOrCreate(keyId, generateIdentity), keyFailure)
  const recipient = yield* Effect.try({
    try: () => recipientOf(Redacted.value(identity)),
    catch: () => new StageError({ reason: "Corrupt", message: `The key "${keyId}" in the keyring is not an age identity.`, remedy: `Destroy it (hyper keys destroy ${keyId}) and run again.` })
  })
  return { keyId, recipient }
})

/** What a run that ends early leaves in memory is overwritten. */
const segmenterFor = (dataset: SourceRef, options: Options) =>
  Effect.acquireRelease(
    Effect.sync(() => new Segmenter(dataset.name, options.segmentBytes, options.segmentRows ?? Math.max(1, Math.ceil(dataset.rows / SEGMENTS_OF_A_SMALL_SET)))),
    (segmenter) => Effect.sync(() => segmenter.slots.wipe())
  )

const encrypt = Effect.fn("age.encrypt")(function*(context: StageContext<Options, Kinds["encrypt"]["input"]>) {
  const { input: { dataset, model }, options } = context
  const progress = yield* Progress
  const path = yield* pathOf(dataset)
  const salt = yield* Effect.mapError((yield* Keyring).get(dataset.saltKey), keyFailure)
  const { keyId, recipient } = yield* dataKey(dataset)
  const bad = options.recipients.find((r) => !isRecipient(r))
  if (bad !== undefined) return yield* new StageError({ reason: "InvalidInput", message: `"${bad}" is not an age recipient: its checksum does not match.`, remedy: "Copy it again from age-keygen's output." })
  const recipients = [...new Set([recipient, ...options.recipients])]
  const tokenizer = yield* tokenizerOf(model)
  const segmenter = yield* segmenterFor(dataset, options)
  const threads = threadsFor(dataset.bytes, tokenizer !== undefined)
  const sealer = yield* threads === 0 ? sealInPlace : makeSealPool(threads)
  const check = sourceCheck(Buffer.from(Redacted.value(salt), "base64"), dataset)
  let done = 0
  const segments = yield* plainSegments(path, dataset.name, segmenter, check.update).pipe(
    Stream.mapEffect((plain) =>
      Effect.gen(function*() {
        const bytes = plain.bytes.length
        const { artifact, tokens } = yield* sealer.seal({ bytes: plain.bytes, recipients, tokenizer })
        segmenter.slots.sealed(plain.slot)
        done += bytes
        yield* progress.report({ done, total: dataset.bytes, unit: "bytes", label: `sealing ${dataset.name}` })
        return { index: plain.index, artifact, rows: plain.rows, bytes, ...(tokens === undefined ? {} : { tokens }) } satisfies Segment
      }), { concurrency: sealer.width }),
    Stream.runCollect
  )
  if (!check.matches()) {
    return yield* invalidDataset(`${basename(path)} is not what was selected: it was changed since (its commitment does not match).`, "Run the pipeline again: the new content is then checked and selected.")
  }
  if (segments.length === 0) return yield* invalidDataset(`The data set ${dataset.name} has no rows.`, "Give a JSONL file with at least one row: one JSON object a line.")
  yield* sealer.finish
  yield* note(`${dataset.name}: ${segmenter.totalRows} rows sealed in ${segments.length} segments for ${recipients.length} recipient${recipients.length === 1 ? "" : "s"}`)
  return { keyId, recipients, commitment: dataset.commitment, format: dataset.format, rows: segmenter.totalRows, segments } satisfies Sealed
}, Effect.scoped)

/** Sealed segments are of use for as long as they exist and their key does. */
const alive = Effect.fnUntraced(function*(output: Sealed) {
  const key = yield* Effect.result(Effect.mapError((yield* Keyring).get(output.keyId), keyFailure))
  if (key._tag === "Failure") {
    if (key.failure.reason !== "Missing") return yield* key.failure
    yield* note(`the key ${output.keyId} was destroyed, so what it sealed is sealed anew`, "warn")
    return false
  }
  if (recipientOf(Redacted.value(key.success)) !== output.recipients[0]) {
    yield* note(`the key ${output.keyId} was replaced, so what the old one sealed is sealed anew`, "warn")
    return false
  }
  const artifacts = yield* ArtifactStore
  for (const segment of output.segments) {
    if (yield* artifacts.has(segment.artifact.digest)) continue
    yield* note(`segment ${segment.index} is no longer in the artifact store, so the data set is sealed anew`, "warn")
    return false
  }
  return true
})

export default definePlugin({
  id: "age",
  version: "0.1.0",
  stages: {
    encrypt: stage({
      kind: "encrypt",
      effect: "pure",
      options: Options,
      estimate: (options) =>
        Effect.sync(() => {
          const bad = options.recipients.filter((recipient) => !isRecipient(recipient))
          return {
            notes: [
              ...bad.map((recipient) => ({ level: "refuse" as const, message: `"${recipient}" is not an age recipient: its checksum does not match.`, remedy: "Copy it again from age-keygen's output." })),
              ...(options.recipients.length > 0 ? [{ level: "info" as const, message: `${options.recipients.length} further recipient(s) can open the whole data set` }] : [])
            ],
            sideEffects: [],
            tools: [],
            hosts: []
          }
        }),
      alive: (output) => alive(output),
      body: { run: encrypt }
    })
  }
})
