/** Against a real Ollama, built from its Go module (realOllama.ts). */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import type { Model, Packaged } from "@hypernode/engine/stage/values"
import OpenAI from "openai"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import { renderOf } from "../../src/ollama/chatTemplate.ts"
import { OllamaClient } from "../../src/ollama/Client.ts"
import type { SelectOptions, ServeOptions } from "../../src/ollama/Options.ts"
import plugin from "../../src/ollama/plugin.ts"
import { select } from "../../src/ollama/select.ts"
import { serve } from "../../src/ollama/serve.ts"
import { contextOf, endpointsOf, FIXTURE, openWorld, packagedOf, type World } from "../serving/world.ts"
import { noOllama, type RealOllama, realOllama } from "./realOllama.ts"
import { registryOver } from "./registry.ts"

const reason = noOllama()
if (reason !== undefined) process.stdout.write(`skipped: ${reason}\n`)

/** LoRA weights as peft names and writes them, for the square projections of every layer. */
const lora = (layers: number, width: number, rank: number): Buffer => {
  const header: Record<string, { dtype: "F32"; shape: ReadonlyArray<number>; data_offsets: readonly [number, number] }> = {}
  const bytes = 4 * rank * width
  let at = 0
  for (let layer = 0; layer < layers; layer++) {
    for (const target of ["q_proj", "v_proj"]) {
      for (const [part, shape] of [["lora_A", [rank, width]], ["lora_B", [width, rank]]] as const) {
        header[`base_model.model.model.layers.${layer}.self_attn.${target}.${part}.weight`] = { dtype: "F32", shape, data_offsets: [at, (at += bytes)] }
      }
    }
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const weights = Float32Array.from({ length: at / 4 }, (_, i) => 0.3 * Math.sin(i * 12.9898))
  return Buffer.concat([length, json, Buffer.from(weights.buffer)])
}

describe.skipIf(reason !== undefined)("ollama", () => {
  let ollama: RealOllama
  let world: World
  let scratch: string
  beforeAll(async () => {
    ollama = await realOllama()
  }, 900_000)
  afterAll(() => ollama?.close())
  beforeEach(() => {
    world = openWorld()
    scratch = mkdtempSync(join(tmpdir(), "hto-"))
  })
  afterEach(async () => {
    await world.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  const serveContext = (packaged: Packaged, options: Partial<ServeOptions> = {}, run = 1) => contextOf<ServeOptions>(world.home, packaged, { host: ollama.host, ...options }, run)
  const names = () => Effect.promise(() => new OllamaClient(ollama.host).list().then((models) => models.map(({ name }) => name).toSorted()))
  const clientFor = Effect.fnUntraced(function* (endpoint: { readonly id: string; readonly url: string }) {
    return new OpenAI({ baseURL: endpoint.url, apiKey: yield* Endpoints.use((endpoints) => endpoints.apiKey(endpoint.id)), maxRetries: 0 })
  })

  test("a fine-tuned model is created and served: the prompt is the one it was trained with; replaced, then stopped", async () => {
    await world.run(
      Effect.gen(function* () {
        const packaged = yield* packagedOf(FIXTURE, "Support Bot")
        const endpoint = yield* serve(serveContext(packaged))
        expect(endpoint.model).toBe("support-bot")
        const first = (yield* Endpoints.use((endpoints) => endpoints.get(endpoint.id)))!
        expect(first).toMatchObject({ state: "healthy", upstream: ollama.host, upstreamModel: expect.stringMatching(/^support-bot:[0-9a-f]{12}$/) })
        expect(yield* names()).toEqual([first.upstreamModel, "support-bot:latest"])

        // an attempt that was cut off before the name was moved: the next one moves it, and starts nothing
        yield* Effect.promise(() => new OllamaClient(ollama.host).delete("support-bot:latest"))
        expect(yield* serve({ ...serveContext(packaged), attempt: 2, jobKey: `${serveContext(packaged).jobKey}/2` })).toEqual(endpoint)
        expect(yield* names()).toEqual([first.upstreamModel, "support-bot:latest"])
        expect((yield* Jobs.use((jobs) => jobs.list)).length).toBe(1)

        const client = yield* clientFor(endpoint)
        const messages = [{ role: "system" as const, content: "Be short." }, { role: "user" as const, content: "Are you open on Tuesday?" }, { role: "assistant" as const, content: "Yes." }, { role: "user" as const, content: "And on Monday?" }]
        const chat = yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages, max_tokens: 16, temperature: 0 }))
        expect(chat.model).toBe("support-bot")
        // the model's own Jinja template, tokens read raw: the same prompt, the same answer
        const own = yield* Effect.promise(() => renderOf(FIXTURE))
        const raw = (prompt: string) => Effect.promise(() => fetch(`${ollama.host}/api/generate`, { method: "POST", body: JSON.stringify({ model: first.upstreamModel, prompt, raw: true, stream: false, options: { num_predict: 16, temperature: 0 } }) }).then((answer) => answer.json() as Promise<{ response: string; prompt_eval_count: number }>))
        const expected = yield* raw(own!.render(messages, true))
        expect([chat.choices[0]?.message.content, chat.usage?.prompt_tokens]).toEqual([expected.response, expected.prompt_eval_count])
        // planted: another form of the same words is seen
        expect((yield* raw(own!.render(messages, true).replaceAll("<|user|>", "user: "))).prompt_eval_count).not.toBe(expected.prompt_eval_count)

        const streamed = yield* Effect.promise(async () => {
          let text = ""
          for await (const chunk of await client.chat.completions.create({ model: "support-bot", messages, max_tokens: 16, temperature: 0, stream: true })) text += chunk.choices[0]?.delta.content ?? ""
          return text
        })
        expect(streamed).toBe(chat.choices[0]?.message.content)

        // a second run of the pipeline: a smaller model under the same URL and key, and nothing of the first one stays
        const stage = plugin.stages.serve!
        const context = serveContext(packaged, { quantize: "q8_0" }, 2)
        expect(yield* stage.alive!(endpoint, context)).toBe(true)
        const second = yield* serve({ ...context, input: { packaged: { ...packaged, digest: `sha256:${"b".repeat(64)}` as typeof packaged.digest } } })
        expect([second.id, second.url]).toEqual([endpoint.id, endpoint.url])
        const record = (yield* Endpoints.use((endpoints) => endpoints.get(second.id)))!
        expect(yield* names()).toEqual([record.upstreamModel, "support-bot:latest"])
        expect(record.upstreamModel).not.toBe(first.upstreamModel)
        const jobs = yield* Jobs
        expect((yield* jobs.state(first.job))._tag).toBe("Ended")
        expect(yield* stage.alive!(endpoint, context)).toBe(false) // of the package before
        expect(yield* stage.alive!(second, context)).toBe(true)

        // stopped: out of Ollama's memory, still in its list
        const loaded = () => Effect.promise(() => new OllamaClient(ollama.host).device(record.upstreamModel))
        expect(yield* loaded()).toBe("CPU")
        yield* Endpoints.use((endpoints) => endpoints.stop(second.id))
        expect(yield* loaded()).toBeUndefined()
        expect(yield* names()).toContain("support-bot:latest")
        expect(ollama.log()).not.toContain("Tuesday")
      })
    )
  })

  test("an adapter goes beside its base", async () => {
    mkdirSync(join(scratch, "adapter"))
    writeFileSync(join(scratch, "adapter/adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 16, target_modules: ["q_proj", "v_proj"] }))
    writeFileSync(join(scratch, "adapter/adapter_model.safetensors"), lora(4, 128, 4))
    await world.run(
      Effect.gen(function* () {
        const plain = yield* serve(serveContext(yield* packagedOf(FIXTURE, "plain")))
        const ask = Effect.fnUntraced(function* (endpoint: typeof plain) {
          const client = yield* clientFor(endpoint)
          return (yield* Effect.promise(() => client.chat.completions.create({ model: endpoint.model, messages: [{ role: "user", content: "Are you open?" }], max_tokens: 16, temperature: 0 }))).choices[0]?.message.content
        })
        const before = yield* ask(plain)
        const adapted = yield* serve(serveContext(yield* packagedOf(FIXTURE, "adapted", { adapter: join(scratch, "adapter"), digest: "c" }), {}, 2))
        expect(yield* ask(adapted)).not.toBe(before)
      })
    )
  })

  test("a model of Ollama's is pulled, selected and served as it is; a wrong name and one that has changed are said", async () => {
    const registry = await registryOver(ollama.models)
    // one that has nothing yet
    const other = await realOllama()
    const selectContext = (options: Partial<SelectOptions> & { readonly model: string }): StageContext<SelectOptions, unknown> =>
      ({ ...contextOf(world.home, {} as Packaged, { pull: true, host: other.host, ...options }), input: {} })
    const served = (model: Model, options: Partial<ServeOptions> = {}, run = 1) => ({ ...serveContext({} as Packaged, { host: other.host, ...options }, run), input: { model } })
    try {
      await world.run(
        Effect.gen(function* () {
          const made = yield* serve(serveContext(yield* packagedOf(FIXTURE, "origin")))
          yield* Endpoints.use((endpoints) => endpoints.stop(made.id))
          const model = `${registry.host}/library/origin:latest`
          const { model: selected } = yield* select(selectContext({ model }))
          expect(registry.asked.some((line) => /GET \/storage/.test(line)), registry.asked.join("\n")).toBe(true)
          expect(selected).toMatchObject({ name: "origin-latest", format: "gguf", architecture: "llama", parameters: 1_066_112, source: expect.stringMatching(/^ollama:127.*origin:latest@sha256:[0-9a-f]{64}$/) })
          expect(world.lines.some((line) => line.includes("for serving only"))).toBe(true)
          const tree = yield* ArtifactStore.use((artifacts) => artifacts.tree(selected.tree))
          expect(tree.files.map(({ path }) => path)).toEqual(["ollama.json"])

          const asked = registry.asked.length
          expect((yield* select(selectContext({ model, pull: false }))).model).toEqual(selected) // it is here
          expect(registry.asked.length).toBe(asked)
          const endpoint = yield* serve(served(selected, { name: "pulled" }, 2))
          expect(endpoint.model).toBe("pulled")
          const client = yield* clientFor(endpoint)
          expect((yield* Effect.promise(() => client.chat.completions.create({ model: "pulled", messages: [{ role: "user", content: "Hello" }], max_tokens: 4 }))).usage?.completion_tokens).toBeGreaterThan(0)

          const stage = plugin.stages.select!
          expect(yield* stage.alive!({ model: selected }, selectContext({ model }))).toBe(true)
          expect(yield* stage.alive!({ model: { ...selected, revision: `sha256:${"0".repeat(64)}` } }, selectContext({ model }))).toBe(false)
          const changed = yield* Effect.flip(serve(served({ ...selected, revision: `sha256:${"0".repeat(64)}` }, { name: "pulled" }, 3)))
          expect([changed.reason, changed.remedy]).toEqual(["Missing", expect.stringContaining("Run the pipeline again")])

          const wrong = yield* Effect.flip(select(selectContext({ model: `${registry.host}/library/no-such-model` })))
          expect([wrong.reason, wrong.message, wrong.remedy]).toEqual(["InvalidInput", expect.stringContaining("There is no model"), expect.stringContaining("Check its name")])
          const absent = yield* Effect.flip(select(selectContext({ model: "llama-not-here", pull: false })))
          expect([absent.reason, absent.remedy]).toEqual(["Missing", expect.stringContaining("ollama pull llama-not-here:latest")])
          registry.close()
          const unreachable = yield* Effect.flip(select(selectContext({ model: `${registry.host}/library/other` })))
          expect([unreachable.reason, unreachable.message]).toEqual(["Unavailable", expect.stringContaining("cannot reach the registry")])
        })
      )
    } finally {
      registry.close()
      await other.close()
    }
  })

  test("what cannot be created or loaded is said, and leaves Ollama and what was served before as they were", async () => {
    const unknown = join(scratch, "unknown")
    cpSync(FIXTURE, unknown, { recursive: true })
    writeFileSync(join(unknown, "config.json"), readFileSync(join(unknown, "config.json"), "utf8").replace("LlamaForCausalLM", "NoSuchForCausalLM"))
    const short = join(scratch, "short")
    cpSync(FIXTURE, short, { recursive: true })
    truncateSync(join(short, "model.safetensors"), 100_000)
    const jinja = join(scratch, "jinja")
    cpSync(FIXTURE, jinja, { recursive: true })
    writeFileSync(join(jinja, "chat_template.jinja"), "{% for message in messages %}{{ loop.index }}: {{ message['content'] }}{% endfor %}")
    const large = join(scratch, "large")
    cpSync(FIXTURE, large, { recursive: true })
    writeFileSync(join(large, "config.json"), readFileSync(join(large, "config.json"), "utf8").replace('"max_position_embeddings": 256', '"max_position_embeddings": 16000000'))
    await world.run(
      Effect.gen(function* () {
        const good = yield* serve(serveContext(yield* packagedOf(FIXTURE, "good")))
        const client = new OllamaClient(ollama.host)
        yield* Effect.promise(() => client.copy("good:latest", "mine:latest"))
        // not one of ours any more: made with other words
        yield* Effect.promise(() => fetch(`${ollama.host}/api/create`, { method: "POST", body: JSON.stringify({ model: "mine", from: "good", system: "mine", stream: false }) }).then((answer) => answer.text()))
        const before = yield* names()
        const digest = (letter: string) => ({ digest: letter })
        const cases = [
          { packaged: yield* packagedOf(unknown, "good", digest("c")), reason: "InvalidInput", says: "cannot convert" },
          { packaged: yield* packagedOf(short, "good", digest("d")), reason: "JobFailed", says: "Ollama failed with good" },
          { packaged: yield* packagedOf(jinja, "good", digest("e")), reason: "InvalidInput", says: "chat template has no equal" },
          { packaged: yield* packagedOf(FIXTURE, "good", digest("f")), options: { template: "{{ range" }, reason: "InvalidInput", says: "does not take the template" },
          { packaged: yield* packagedOf(large, "good", digest("0")), options: { context: 16_000_000 }, reason: "OutOfSpace", says: "not enough memory" },
          { packaged: yield* packagedOf(FIXTURE, "mine", digest("1")), reason: "InvalidInput", says: "already has a model mine" }
        ]
        for (const [i, { options, packaged, reason: expected, says }] of cases.entries()) {
          const error = yield* Effect.flip(serve(serveContext(packaged, options ?? {}, i + 10)))
          expect([error.reason, error.message.includes(says), error.remedy !== undefined], error.message).toEqual([expected, true, true])
        }
        expect(yield* names()).toEqual(before)
        expect(yield* endpointsOf).toMatchObject([{ endpoint: good, state: "healthy" }])
        const jobs = yield* Jobs
        const states = yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.state(handle))
        expect(states.filter((state) => state._tag === "Running").length).toBe(1)

        // Ollama itself goes away, and comes back: the endpoint is the same one
        const context = serveContext(cases[0]!.packaged)
        yield* Effect.promise(() => ollama.stop())
        expect(yield* plugin.stages.serve!.alive!(good, context)).toBe(false)
        const gone = yield* Effect.flip(serve(serveContext(yield* packagedOf(FIXTURE, "good", digest("2")), {}, 30)))
        expect([gone.reason, gone.message, gone.remedy]).toEqual(["Unavailable", expect.stringContaining("cannot be reached"), expect.stringContaining("ollama serve")])
        const refused = yield* plugin.stages.serve!.estimate!({ host: ollama.host }, { projectDirectory: scratch })
        expect(refused.notes[0]).toMatchObject({ level: "refuse", message: expect.stringContaining("does not answer") })
        yield* Effect.promise(() => ollama.start())
        expect(yield* plugin.stages.serve!.alive!(good, context)).toBe(true)
      })
    )
  })
})
