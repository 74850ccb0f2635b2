import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import type { StageServices } from "@hypernode/engine/stage/StageServices"
import type { StageError } from "@hypernode/engine/stage/StageError"
import { ProgressLines, stageContext, stageServices } from "@hypernode/engine/testing/stageServices"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { isLoopback } from "../../src/hf-hub/Client.ts"
import { hubFileOf, Options } from "../../src/hf-hub/Options.ts"
import plugin from "../../src/hf-hub/plugin.ts"
import { neededFiles } from "../../src/hf-hub/selectModel.ts"
import { COMMIT, type Hub, type Repo, startHub, TOKEN } from "./hub.ts"

const stage = plugin.stages.select!
const run = (stage.body as Extract<typeof stage.body, { run: unknown }>).run

/** A safetensors file of one tensor, with filler that makes it as long as a test needs. */
const weights = (elements: number, seed = 1): Buffer => {
  const header = Buffer.from(JSON.stringify({ w: { dtype: "F32", shape: [elements], data_offsets: [0, elements * 4] } }))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([size, header, Buffer.alloc(elements * 4, seed)])
}
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const base = { "config.json": json({ architectures: ["LlamaForCausalLM"], model_type: "llama" }), "tokenizer.json": json({ version: "1.0" }), "tokenizer_config.json": json({}), ".gitattributes": Buffer.from("*.safetensors filter=lfs\n"), "README.md": Buffer.from("---\nlicense: apache-2.0\n---\n# A model\n") }
const rows = Buffer.from('{"text":"one"}\n{"text":"two"}\n')
const repos: ReadonlyArray<Repo> = [
  { type: "model", id: "org/tiny", files: { ...base, "model.safetensors": weights(50_000), "pytorch_model.bin": Buffer.from("pickle"), "onnx/model.onnx": Buffer.from("x"), "model.fp16.safetensors": weights(10, 7) } },
  { type: "model", id: "org/sharded", files: { ...base, "model-00001-of-00002.safetensors": weights(100, 1), "model-00002-of-00002.safetensors": weights(200, 2), "consolidated.safetensors": weights(300, 3), "model.safetensors.index.json": json({ weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" } }) } },
  { type: "model", id: "org/pickled", files: { ...base, "pytorch_model.bin": Buffer.from("pickle") } },
  { type: "model", id: "org/gated", gated: "auto", files: { ...base, "model.safetensors": weights(10) } },
  { type: "model", id: "org/private", private: true, files: { ...base, "model.safetensors": weights(10) } },
  { type: "dataset", id: "org/rows", files: { "data/train.jsonl": rows } },
  { type: "dataset", id: "org/secret-rows", private: true, files: { "train.jsonl": rows } }
]

let hub: Hub
let project: string
beforeEach(async () => {
  hub = await startHub(repos)
  project = mkdtempSync(join(tmpdir(), "hhf-"))
})
afterEach(async () => {
  await hub.close()
  rmSync(project, { recursive: true, force: true })
})

const decode = Schema.decodeUnknownSync(Options)
const contextOf = Effect.fnUntraced(function* (options: object) {
  const home = yield* CurrentHome
  return stageContext(home, { options: decode({ endpoint: hub.url, ...options }), input: {}, projectDirectory: project })
})
const select = (options: object) => Effect.flatMap(contextOf(options), run)
const within = <A, E>(body: Effect.Effect<A, E, StageServices | CurrentHome | ProgressLines>): Promise<A> => Effect.runPromise(Effect.provide(body, stageServices))
const failing = (options: object): Promise<StageError> => within(Effect.flip(select(options)))
const withToken = Secrets.use((secrets) => secrets.set("default", "MY_TOKEN", Redacted.make(TOKEN)))
const filesIn = (directory: string): Array<string> => readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))

describe("a model", () => {
  test("is pinned to its commit; what is needed comes, verified, and nothing else", async () => {
    await within(
      Effect.gen(function* () {
        const { model } = yield* select({ model: "org/tiny" })
        expect(model).toMatchObject({ name: "tiny", source: `hf:org/tiny@${COMMIT}`, revision: COMMIT, architecture: "LlamaForCausalLM", parameters: 50_000, license: "apache-2.0" })
        const artifacts = yield* ArtifactStore
        const tree = yield* artifacts.tree(model!.tree)
        expect(tree.files.map(({ path }) => path)).toEqual(["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
        expect(hub.requests.some(({ path }) => path.includes("pytorch_model") || path.includes("fp16"))).toBe(false)
        // again: the branch is asked for, no file is
        const sent = hub.sent
        expect((yield* select({ model: "org/tiny" })).model).toEqual(model)
        expect(hub.sent).toBe(sent)
        // by commit: nothing is asked at all, so it works without a network
        const asked = hub.requests.length
        expect((yield* select({ model: "org/tiny", revision: COMMIT })).model).toEqual(model)
        expect(hub.requests.length).toBe(asked)
        expect(yield* stage.alive!({ model: model! }, yield* contextOf({}))).toBe(true)
        expect(yield* stage.alive!({ model: { ...model!, tree: { ...model!.tree, digest: `sha256:${"0".repeat(64)}` as never } } }, yield* contextOf({}))).toBe(false)
      })
    )
  })

  test("in shards: those that its index names, not the same weights again", async () => {
    const { model } = await within(select({ model: "org/sharded" }))
    expect(model?.parameters).toBe(300)
  })

  test("a connection that breaks in the middle goes on where it broke", async () => {
    hub.faults.cut = { path: "model.safetensors", after: 60_000, times: 3 }
    await within(select({ model: "org/tiny" }))
    const ranges = hub.requests.filter(({ host, path }) => host === "storage" && path.includes("model.safetensors")).map(({ range }) => range)
    expect(ranges).toEqual([undefined, "bytes=60000-", "bytes=120000-", "bytes=180000-"])
  })

  test("a step that was interrupted goes on with what the last attempt left", async () => {
    hub.faults.cut = { path: "model.safetensors", after: 0, times: 1_000_000 }
    await within(
      Effect.gen(function* () {
        const home = yield* CurrentHome
        const partial = join(home.cache, "hf", "partial")
        hub.faults.cut = { path: "model.safetensors", after: 100_000, times: 1 }
        const stalled = yield* Effect.forkChild(select({ model: "org/tiny" }))
        // the second answer never comes
        while (!hub.requests.some(({ range }) => range === "bytes=100000-")) {
          if ((hub.faults.cut?.times ?? 0) === 0) hub.faults.cut = { path: "model.safetensors", after: 0, times: 1_000_000 }
          yield* Effect.sleep("5 millis")
        }
        yield* Fiber.interrupt(stalled)
        expect(readdirSync(partial).filter((name) => name.endsWith(".lock"))).toEqual([])
        delete hub.faults.cut
        const sent = hub.sent
        yield* select({ model: "org/tiny" })
        expect(hub.sent - sent).toBeLessThan(110_000) // of 200,000 and more
        expect(readdirSync(partial)).toEqual([])
      })
    )
  })

  test("storage that knows no ranges starts again", async () => {
    hub.faults.cut = { path: "model.safetensors", after: 1000, times: 1 }
    hub.faults.noRanges = true
    expect((await within(select({ model: "org/tiny" }))).model?.parameters).toBe(50_000)
  })

  test("wrong bytes are refused and not kept: another content, too long, too short; large and small files", async () => {
    await within(
      Effect.gen(function* () {
        const home = yield* CurrentHome
        const good = repos[0]!.files["model.safetensors"]!
        for (const [path, bytes, reason] of [
          ["model.safetensors", weights(50_000, 9), "Corrupt"],
          ["model.safetensors", Buffer.concat([good, Buffer.from("x")]), "Corrupt"],
          ["config.json", json({ architectures: ["Llamaf0rCausalLM"], model_type: "llama" }), "Corrupt"],
          ["model.safetensors", good.subarray(0, 500), "Unavailable"]
        ] as const) {
          hub.faults.swap = { path, bytes }
          const error = yield* Effect.flip(select({ model: "org/tiny" }))
          expect([path, error.reason], error.message).toEqual([path, reason])
          const kept = filesIn(join(home.cache, "hf", "blobs"))
          expect(kept.some((file) => readFileSync(file).equals(bytes))).toBe(false)
          rmSync(join(home.cache, "hf"), { recursive: true, force: true })
        }
        delete hub.faults.swap
        yield* select({ model: "org/tiny" })
        // a blob that rots in the cache is fetched again
        const blob = filesIn(join(home.cache, "hf", "blobs")).find((file) => file.includes("sha256-"))!
        writeFileSync(blob, Buffer.alloc(readFileSync(blob).length, 5))
        expect((yield* select({ model: "org/tiny" })).model?.parameters).toBe(50_000)
      })
    )
  })

  test("two at once download once", async () => {
    await within(
      Effect.gen(function* () {
        yield* Effect.all([select({ model: "org/tiny" }), select({ model: "org/tiny" })], { concurrency: 2 })
        expect(hub.requests.filter(({ host }) => host === "storage").length).toBe(1)
      })
    )
  })
})

describe("refusals", () => {
  test("each says what and what to do", async () => {
    const cases = [
      [{ model: "org/gated" }, "Denied", "org/gated is gated", `Request access at ${"{hub}"}/org/gated, then pass its token with token: secret("HF_TOKEN")`],
      [{ model: "org/private" }, "Denied", "is private, or there is no such repository", "Check its name"],
      [{ model: "org/nothing" }, "Denied", "is private, or there is no such repository", "Check its name"],
      [{ model: "org/tiny", revision: "v9" }, "InvalidInput", 'has no revision "v9"', "branches and commits"],
      [{ model: "org/pickled" }, "InvalidInput", "pickled weights only (pytorch_model.bin)", "safetensors"],
      [{ dataset: "hf://datasets/org/rows/nothing.jsonl" }, "InvalidInput", "has no file nothing.jsonl", "files are listed"],
      [{ dataset: "hf://datasets/org/rows/no/thing.jsonl" }, "InvalidInput", "no/thing", "files are listed"],
      [{ dataset: "hf://rows" }, "InvalidInput", "names no file of the hub", "hf://datasets/"],
      [{}, "InvalidInput", "selects nothing", "Give it"],
      [{ dataset: "missing.jsonl" }, "InvalidInput", "missing.jsonl does not exist", "relative"],
      [{ model: "org/tiny", token: { $secret: "NOT_SET_ANYWHERE" } }, "Missing", "NOT_SET_ANYWHERE", "leave `token` out"],
      [{ model: "org/tiny", token: { $secret: "NOT_SET_ANYWHERE" }, endpoint: "http://hub.example" }, "Denied", "unencrypted", "https"]
    ] as const
    for (const [options, reason, message, remedy] of cases) {
      const error = await failing(options)
      expect([error.reason, error.message.includes(message), error.remedy?.includes(remedy.replace("{hub}", hub.url))], `${error.message} / ${error.remedy}`).toEqual([reason, true, true])
    }
  })

  test("a limit says when again; a hub that is away can be tried again", async () => {
    hub.faults.limit = 1
    expect(await failing({ model: "org/tiny" })).toMatchObject({ reason: "Unavailable", retryAfter: 37 })
    const gone = hub.url
    await hub.close()
    const error = await failing({ model: "org/tiny", endpoint: gone })
    expect([error.reason, error.isRetryable, error.message.includes("ECONNREFUSED"), error.remedy?.includes("local({ model })")]).toEqual(["Unavailable", true, true, true])
    hub = await startHub(repos)
  })

  test("a connection that only ever breaks gives up for the durable layer to try again", async () => {
    hub.faults.cut = { path: "model.safetensors", after: 0, times: 1_000_000 }
    expect(await failing({ model: "org/tiny" })).toMatchObject({ reason: "Unavailable" })
  })
})

describe("the token", () => {
  test("opens private and gated models, goes to the hub only, and is in no file, line or error", async () => {
    await within(
      Effect.gen(function* () {
        yield* withToken
        const token = { $secret: "MY_TOKEN" }
        expect((yield* select({ model: "org/private", token })).model?.parameters).toBe(10)
        rmSync(join((yield* CurrentHome).cache, "hf"), { recursive: true, force: true }) // the same weights: they would not be asked for again
        expect((yield* select({ model: "org/gated", token })).model?.parameters).toBe(10)
        const seen = hub.requests.filter(({ authorization }) => authorization !== undefined)
        expect(seen.length).toBeGreaterThan(5)
        expect(seen.every(({ host }) => host === "hub")).toBe(true)
        expect(hub.requests.some(({ host }) => host === "storage")).toBe(true)
        const home = yield* CurrentHome
        const lines = yield* ProgressLines
        const error = yield* Effect.flip(select({ model: "org/nothing", token }))
        expect(error).toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("no repository org/nothing") })
        const holding = (needle: string): Array<string> => [...filesIn(home.cache), ...filesIn(home.root)].filter((file) => readFileSync(file).includes(needle))
        expect(JSON.stringify([lines, error])).not.toContain(TOKEN)
        expect(holding(TOKEN).map((file) => file.slice(home.root.length).split("/")[1])).toEqual(["keys"]) // where it belongs, so the scan can see
      })
    )
  })

  test("one that is not accepted is told apart from none", async () => {
    await within(
      Effect.gen(function* () {
        yield* Secrets.use((secrets) => secrets.set("default", "MY_TOKEN", Redacted.make("hf_wrong")))
        const error = yield* Effect.flip(select({ model: "org/tiny", token: { $secret: "MY_TOKEN" } }))
        expect([error.reason, error.message.includes("does not accept the token")]).toEqual(["Denied", true])
      })
    )
  })
})

describe("a data set", () => {
  test("of this machine is read where it lies; of a public repository it comes from the cache; of a private one it is refused", async () => {
    mkdirSync(join(project, "data"))
    writeFileSync(join(project, "data/rows.jsonl"), rows)
    await within(
      Effect.gen(function* () {
        const own = yield* select({ dataset: "data/rows.jsonl" })
        expect(own.dataset).toMatchObject({ name: "rows.jsonl", uri: join(project, "data/rows.jsonl"), format: "text", rows: 2, bytes: rows.length })
        expect(hub.requests.length).toBe(0)
        const home = yield* CurrentHome
        expect(filesIn(home.root).filter((file) => readFileSync(file).includes('"one"'))).toEqual([])
        const open = yield* select({ dataset: "hf://datasets/org/rows/data/train.jsonl", model: "org/tiny" })
        expect(open.dataset).toMatchObject({ name: "train.jsonl", rows: 2, format: "text" })
        expect(open.dataset?.uri.startsWith(join(home.cache, "hf", "blobs"))).toBe(true)
        expect(open.model?.name).toBe("tiny")
        expect(yield* stage.alive!(open, yield* contextOf({}))).toBe(true)
        rmSync(open.dataset!.uri)
        expect(yield* stage.alive!(open, yield* contextOf({}))).toBe(false)
        yield* withToken
        const error = yield* Effect.flip(select({ dataset: "hf://datasets/org/secret-rows/train.jsonl", token: { $secret: "MY_TOKEN" } }))
        expect([error.reason, error.message.includes("plain text")]).toEqual(["Denied", true])
      })
    )
  })
})

const names = (...paths: Array<string>) => neededFiles(paths.map((path) => ({ path, size: 1, content: "git:0" }))).map(({ path }) => path)

describe("small parts", () => {
  test("names of files and hosts", () => {
    expect(hubFileOf("./rows.jsonl")).toBeUndefined()
    expect(hubFileOf("hf://datasets/a/b@v1/c/d.jsonl")).toEqual({ repo: "a/b", revision: "v1", path: "c/d.jsonl" })
    for (const bad of ["hf://datasets/a/b", "hf://datasets/a/b/../../c", "hf://models/a/b/c"]) expect(hubFileOf(bad)).toBeNull()
    expect(["http://127.0.0.1:3", "http://localhost", "http://[::1]:3"].every((url) => isLoopback(new URL(url)))).toBe(true)
    expect(["http://127.evil.example", "http://10.0.0.1", "http://localhost.evil.example"].some((url) => isLoopback(new URL(url)))).toBe(false)
    for (const bad of [{ model: "../x" }, { model: "a/b/c" }, { endpoint: "ftp://x" }, { endpoint: "https://user:pw@x" }, { revision: "../.." }]) {
      expect(Exit.isFailure(Effect.runSyncExit(Schema.decodeUnknownEffect(Options)(bad))), JSON.stringify(bad)).toBe(true)
    }
  })

  test("one set of weights is enough", () => {
    expect(names("config.json", "model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "flax.msgpack")).toEqual(["config.json", "model.safetensors"])
    expect(names("weights.safetensors")).toEqual(["weights.safetensors"])
  })

  test("at plan time: hosts are named, a missing file is refused, nothing is asked", async () => {
    const context = { projectDirectory: project }
    const known = await Effect.runPromise(stage.estimate!(decode({ model: "org/tiny", endpoint: hub.url }), context))
    expect([known.hosts, known.notes.some((note) => note.level === "refuse")]).toEqual([[new URL(hub.url).host], false])
    expect((await Effect.runPromise(stage.estimate!(decode({ dataset: "no.jsonl" }), context))).notes).toMatchObject([{ level: "refuse" }])
    expect(hub.requests).toEqual([])
  })
})
