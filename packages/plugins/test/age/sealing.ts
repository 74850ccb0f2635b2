/** What the tests of `age` share: a source reference as `local` would make it, and a run of the stage. */
import { createHmac, randomBytes } from "node:crypto"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { sourceTag } from "@hypernode/engine/dataset/sourceTag"
import { openFile } from "@hypernode/engine/keys/age/File"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import type { StageError } from "@hypernode/engine/stage/StageError"
import type { Model, Sealed, SourceRef } from "@hypernode/engine/stage/values"
import { stageContext, stageServices } from "@hypernode/engine/testing/stageServices"
import type { Options } from "../../src/age/Options.ts"
import plugin from "../../src/age/plugin.ts"

export const provided = <A, E>(effect: Effect.Effect<A, E, any>) => Effect.provide(effect, stageServices, { local: true }) as Effect.Effect<A, E>

export const chatRow = (i: number, text = ""): string => JSON.stringify({ messages: [{ role: "user", content: `question ${i} ${text}` }, { role: "assistant", content: `answer ${i}` }] })

export const source = Effect.fnUntraced(function*(bytes: string | Buffer, rows: number, name = "rows.jsonl") {
  const home = yield* CurrentHome
  const directory = join(home.root, "..", "project")
  const uri = join(directory, name)
  yield* Effect.promise(() => mkdir(directory, { recursive: true }).then(() => writeFile(uri, bytes)))
  const salt = yield* (yield* Keyring).getOrCreate("salt/test", () => randomBytes(32).toString("base64"))
  const commitment = `hmac-sha256:${createHmac("sha256", Buffer.from(Redacted.value(salt), "base64")).update(bytes).digest("hex")}`
  return { name, uri, format: "chat", rows, bytes: Buffer.byteLength(bytes), commitment, saltKey: "salt/test" } satisfies SourceRef
})

/** The same, with the tag that select plugins add. */
export const tagged = Effect.fnUntraced(function*(dataset: SourceRef) {
  const salt = Buffer.from(Redacted.value(yield* (yield* Keyring).get(dataset.saltKey)), "base64")
  const tag = sourceTag(salt)
  tag.update(yield* Effect.promise(() => readFile(dataset.uri)))
  return { ...dataset, tag: tag.digest(dataset.commitment) }
})

export const encrypt = Effect.fnUntraced(function*(dataset: SourceRef, options: Partial<Options> = {}, model?: Model) {
  const home = yield* CurrentHome
  const context = stageContext(home, { options: { recipients: [], segmentBytes: 4 << 20, ...options }, input: { dataset, ...(model === undefined ? {} : { model }) }, projectDirectory: "/" })
  return yield* (plugin.stages.encrypt!.body as { run: (c: typeof context) => Effect.Effect<Sealed, StageError, any> }).run(context)
})

export const alive = Effect.fnUntraced(function*(sealed: Sealed) {
  const context = stageContext(yield* CurrentHome, { options: {}, input: {}, projectDirectory: "/" })
  return yield* plugin.stages.encrypt!.alive!(sealed, context) as Effect.Effect<boolean, StageError, any>
})

/** Plaintext of all segments in order, opened with the home's own key. */
export const opened = Effect.fnUntraced(function*(sealed: Sealed) {
  const identity = Redacted.value(yield* (yield* Keyring).get(sealed.keyId))
  const artifacts = yield* ArtifactStore
  return (yield* Effect.forEach(sealed.segments, (segment) => artifacts.read(segment.artifact))).map((file) => openFile(file, identity))
})
