import { createHmac } from "node:crypto"
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Keyring } from "@hypernode/engine/keys/Keyring"
import { SelectOutput } from "@hypernode/engine/stage/kinds"
import { ProgressLines, stageContext, stageServices } from "@hypernode/engine/testing/stageServices"
import { estimate } from "../../src/local/estimate.ts"
import { fingerprint } from "../../src/local/fingerprint.ts"
import { local } from "../../src/local/index.ts"
import { Options } from "../../src/local/Options.ts"
import plugin from "../../src/local/plugin.ts"
import { chatRow, safetensors, writeModel } from "./fixtures.ts"

const select = plugin.stages.select!
const project = Effect.flatMap(CurrentHome, (home) => {
  const directory = join(home.root, "..", "project")
  return Effect.as(Effect.promise(() => mkdir(directory, { recursive: true })), directory)
})
const run = Effect.fnUntraced(function*(options: Partial<Options>) {
  const home = yield* CurrentHome
  const projectDirectory = yield* project
  const context = stageContext(home, { options: { format: "auto" as const, ...options }, input: {}, projectDirectory })
  return yield* (select.body as { run: (c: typeof context) => Effect.Effect<typeof SelectOutput.Type, import("@hypernode/engine/stage/StageError").StageError, any> }).run(context)
})
const write = (directory: string, name: string, bytes: string | Buffer) => Effect.promise(() => writeFile(join(directory, name), bytes))
const provided = <A, E>(effect: Effect.Effect<A, E, any>) => Effect.provide(effect, stageServices, { local: true }) as Effect.Effect<A, E>

describe("local: model", () => {
  it.effect("becomes a tree of the files a model needs", () =>
    provided(Effect.gen(function*() {
      const directory = yield* project
      yield* Effect.promise(() => writeModel(join(directory, "tiny")))
      const { model } = yield* run({ model: "./tiny" })
      assert.isDefined(model)
      assert.deepInclude(model, { name: "tiny", source: "file:tiny", architecture: "LlamaForCausalLM", parameters: 6, license: "apache-2.0" })
      const { files } = yield* (yield* ArtifactStore).tree(model!.tree)
      assert.deepStrictEqual(files.map((f) => f.path), ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
      assert.notInclude(JSON.stringify(model), directory)
      yield* Schema.decodeUnknownEffect(SelectOutput)({ model })
    })))

  it.effect("a hub cache's links are followed", () =>
    provided(Effect.gen(function*() {
      const directory = yield* project
      yield* Effect.promise(async () => {
        await writeModel(join(directory, "blobs"))
        await mkdir(join(directory, "snapshot"))
        for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) await symlink(`../blobs/${name}`, join(directory, "snapshot", name))
      })
      const { model } = yield* run({ model: "snapshot" })
      assert.strictEqual((yield* (yield* ArtifactStore).tree(model!.tree)).files.length, 3)
    })))

  const refusals: ReadonlyArray<readonly [string, (directory: string) => Promise<void>, RegExp]> = [
    ["no directory", async () => undefined, /does not exist/],
    ["a file", (d) => writeFile(d, "x"), /not a directory/],
    ["no config", (d) => writeModel(d, ["config.json"]), /no config\.json/],
    ["no tokenizer", (d) => writeModel(d, ["tokenizer.json"]), /no tokenizer/],
    ["no weights", (d) => writeModel(d, ["model.safetensors", "optimizer.pt"]), /no weights/],
    ["pickled weights", (d) => writeModel(d, ["model.safetensors"]), /pickled/],
    ["an adapter", async (d) => { await writeModel(d, ["config.json"]); await writeFile(join(d, "adapter_config.json"), "{}") }, /adapter/],
    ["a broken config", async (d) => { await writeModel(d); await writeFile(join(d, "config.json"), "{") }, /config\.json .*not a JSON object/],
    ["weights cut short", async (d) => { await writeModel(d); await writeFile(join(d, "model.safetensors"), safetensors().subarray(0, -1)) }, /cut short/],
    ["a missing shard", async (d) => { await writeModel(d); await writeFile(join(d, "model.safetensors.index.json"), JSON.stringify({ weight_map: { w: "model-00002-of-00002.safetensors" } })) }, /lacks model-00002-of-00002/]
  ]
  for (const [name, make, expected] of refusals) {
    it.effect(`refuses ${name}, when it runs and at plan time`, () =>
      provided(Effect.gen(function*() {
        const directory = yield* project
        yield* Effect.promise(() => make(join(directory, "tiny")))
        const error = yield* Effect.flip(run({ model: "tiny" }))
        assert.strictEqual(error.reason, "InvalidInput")
        assert.match(error.message, expected)
        assert.isString(error.remedy)
        const note = (yield* estimate({ model: "tiny", format: "auto" }, { projectDirectory: directory })).notes[0]!
        assert.strictEqual(note.level, "refuse")
        assert.match(note.message, expected)
      })))
  }
})

describe("local: data set", () => {
  it.effect("becomes a reference with a salted commitment, and is copied nowhere", () =>
    provided(Effect.gen(function*() {
      const directory = yield* project
      const text = Array.from({ length: 50 }, (_, i) => chatRow(i)).join("\n") + "\n"
      yield* write(directory, "rows.jsonl", text)
      const { dataset } = yield* run({ dataset: "./rows.jsonl" })
      assert.deepInclude(dataset, { name: "rows.jsonl", format: "chat", rows: 50, bytes: text.length, uri: join(directory, "rows.jsonl") })
      const salt = Buffer.from(Redacted.value(yield* (yield* Keyring).get(dataset!.saltKey)), "base64")
      assert.strictEqual(salt.length, 32)
      assert.strictEqual(dataset!.commitment, `hmac-sha256:${createHmac("sha256", salt).update(text).digest("hex")}`)
      assert.deepStrictEqual((yield* run({ dataset: join(directory, "rows.jsonl") })).dataset, dataset)
      const home = yield* CurrentHome
      const stored = yield* Effect.promise(() => readdir(home.artifacts, { recursive: true, withFileTypes: true }))
      assert.deepStrictEqual(stored.filter((e) => e.isFile()).map((e) => e.name), [])
      assert.notInclude((yield* ProgressLines).join("\n"), "question")
    })))

  const rows = [chatRow(0), chatRow(1)]
  const accepted: ReadonlyArray<readonly [string, string | Buffer, number, "chat" | "text"]> = [
    ["no line end after the last row", rows.join("\n"), 2, "chat"],
    ["CRLF", rows.join("\r\n") + "\r\n", 2, "chat"],
    ["a byte order mark", `\uFEFF${rows.join("\n")}`, 2, "chat"],
    ["blank lines", `\n${rows[0]}\n \t\n\n${rows[1]}\n\n`, 2, "chat"],
    ["text rows", `{"text":"a"}\n{"text":"ü"}\n{"text":"\u2028"}`, 3, "text"],
    ["a row of 3 MB", `{"text":"${"x".repeat(3_000_000)}"}\n{"text":"b"}`, 2, "text"]
  ]
  for (const [name, bytes, count, format] of accepted) {
    it.effect(`takes ${name}`, () =>
      provided(Effect.gen(function*() {
        yield* write(yield* project, "rows.jsonl", bytes)
        const { dataset } = yield* run({ dataset: "rows.jsonl" })
        assert.deepInclude(dataset, { rows: count, format, bytes: Buffer.byteLength(bytes) })
      })))
  }

  const canary = "CANARY-5f2c"
  const refusals: ReadonlyArray<readonly [string, string | Buffer, RegExp]> = [
    ["an empty file", "", /no rows/],
    ["blank lines only", "\n\n  \n", /no rows/],
    ["a row that is not JSON", `${rows[0]}\n${rows[1]}\n{"messages": "${canary}\n`, /line 3: the row is not JSON/],
    ["a row that is a list", `[1, "${canary}"]`, /line 1: the row is not a JSON object/],
    ["neither messages nor text", `{"question":"${canary}"}`, /line 1: .*neither/],
    ["mixed formats", `${rows[0]}\n\n{"text":"${canary}"}`, /line 3: the row has no "messages"/],
    ["a wrong role", `{"messages":[{"role":"${canary}","content":"a"}]}`, /line 1: messages\[0\]\.role/],
    ["content that is not text", `{"messages":[{"role":"user","content":7,"x":"${canary}"}]}`, /line 1: messages\[0\]\.content/],
    ["nothing to learn", `{"messages":[{"role":"user","content":"${canary}"}]}`, /line 1: .*assistant/],
    ["empty messages", `{"messages":[]}`, /line 1: "messages"/],
    ["text that is not text", `{"text":["${canary}"]}`, /line 1: "text"/],
    ["bytes that are not UTF-8", Buffer.concat([Buffer.from(`${rows[0]}\n{"text":"${canary}`), Buffer.from([0xff, 0xfe]), Buffer.from('"}\n')]), /line 2: the row is not UTF-8/],
    ["a row over the limit", `${rows[0]}\n{"text":"${"x".repeat(17 << 20)}"}\n`, /line 2: the row is longer than 16 MiB/]
  ]
  for (const [name, bytes, expected] of refusals) {
    it.effect(`refuses ${name}, with the line and without the content`, () =>
      provided(Effect.gen(function*() {
        yield* write(yield* project, "rows.jsonl", bytes)
        const error = yield* Effect.flip(run({ dataset: "rows.jsonl" }))
        assert.strictEqual(error.reason, "InvalidInput")
        assert.match(error.message, expected)
        assert.include(error.message, "rows.jsonl")
        assert.notInclude(JSON.stringify(error), canary)
      })))
  }

  it.effect("names files that are not there, at plan time too", () =>
    provided(Effect.gen(function*() {
      const directory = yield* project
      assert.match((yield* Effect.flip(run({ dataset: "none.jsonl" }))).message, /none\.jsonl does not exist/)
      const plan = (options: Partial<Options>) => Effect.map(estimate({ format: "auto", ...options }, { projectDirectory: directory }), (e) => e.notes[0]!)
      assert.match((yield* plan({ dataset: "none.jsonl" })).message, /does not exist/)
      assert.match((yield* plan({ dataset: "." })).message, /not a regular file/)
      assert.strictEqual((yield* plan({})).level, "refuse")
      yield* write(directory, "bad.jsonl", `${chatRow(0)}\n{"text":1}\n`)
      assert.match((yield* plan({ dataset: "bad.jsonl" })).message, /line 2/)
      yield* write(directory, "long.jsonl", Array.from({ length: 5000 }, (_, i) => chatRow(i)).join("\n"))
      assert.deepInclude(yield* plan({ dataset: "long.jsonl" }), { level: "info" })
    })))

  it.effect("the cached reference dies with its salt", () =>
    provided(Effect.gen(function*() {
      const home = yield* CurrentHome
      const directory = yield* project
      yield* write(directory, "rows.jsonl", rows.join("\n"))
      const output = yield* run({ dataset: "rows.jsonl" })
      const context = stageContext(home, { options: { dataset: "rows.jsonl", format: "auto" as const }, input: {}, projectDirectory: directory })
      assert.isTrue(yield* select.alive!(output, context))
      yield* (yield* Keyring).destroy(output.dataset!.saltKey)
      assert.isFalse(yield* select.alive!(output, context))
    })))
})

describe("local: cache key and factory", () => {
  it.effect("the fingerprint follows the files and holds no digest of the data", () =>
    provided(Effect.gen(function*() {
      const directory = yield* project
      yield* Effect.promise(() => writeModel(join(directory, "tiny")))
      yield* write(directory, "rows.jsonl", chatRow(0))
      const options = { model: "tiny", dataset: "rows.jsonl", format: "auto" as const }
      const print = Effect.map(fingerprint(options, { projectDirectory: directory }), (value) => JSON.stringify(value))
      const first = yield* print
      assert.strictEqual(yield* print, first)
      yield* write(directory, "rows.jsonl", chatRow(1))
      const second = yield* print
      assert.notStrictEqual(second, first)
      yield* write(join(directory, "tiny"), "tokenizer.json", "{ }")
      assert.notStrictEqual(yield* print, second)
      yield* write(join(directory, "tiny"), "train.py", "not part of the model")
      yield* Effect.promise(() => rm(join(directory, "rows.jsonl")))
      assert.include(yield* print, "absent")
      assert.notMatch(first, /[0-9a-f]{64}/)
    })))

  it("options have defaults, the factory is plain JSON and loads no effect", async () => {
    assert.deepStrictEqual(Schema.decodeUnknownSync(Options)({ dataset: "a" }), { dataset: "a", format: "auto" })
    assert.throws(() => Schema.decodeUnknownSync(Options)({ dataset: "a", format: "csv" }))
    assert.deepStrictEqual(local({ dataset: "a" }), { kind: "select", plugin: { id: "local", specifier: "@hypernode/plugins/local" }, options: { dataset: "a" } })
    assert.notMatch(await readFile(new URL("../../src/local/index.ts", import.meta.url), "utf8"), /from "effect/)
  })
})
