import { spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import OpenAI from "openai"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Packaged } from "@hypernode/engine/stage/values"
import type { Options } from "../../src/transformers/Options.ts"
import plugin from "../../src/transformers/plugin.ts"
import { serve } from "../../src/transformers/serve.ts"
import * as serving from "../serving/world.ts"
import { adapterFor, endpointsOf, FIXTURE, noPython, openWorld, packagedOf, type World } from "../serving/world.ts"

const reason = noPython()
if (reason !== undefined) process.stdout.write(`skipped: ${reason}\n`)

let world: World
let scratch: string
beforeEach(() => {
  world = openWorld()
  scratch = mkdtempSync(join(tmpdir(), "htfm-"))
})
afterEach(async () => {
  await world.close()
  rmSync(scratch, { recursive: true, force: true })
})

const copyOf = (name: string): string => {
  const directory = join(scratch, name)
  cpSync(FIXTURE, directory, { recursive: true })
  return directory
}
const python = (code: string, ...args: Array<string>): void => {
  const done = spawnSync(process.env["HYPER_PYTHON"] as string, ["-c", code, ...args], { encoding: "utf8" })
  if (done.status !== 0) throw new Error(done.stderr)
}
const contextOf = (home: World["home"], packaged: Packaged, options: Partial<Options>, run?: number, attempt?: number) => serving.contextOf<Options>(home, packaged, { maxTokens: 64, device: "cpu", ...options }, run, attempt)

describe.skipIf(reason !== undefined)("transformers", () => {
  test("serves a package: chat, stream and completion with the official client; base and fine-tuned asked; then replaced, and stopped", async () => {
    const tuned = copyOf("tuned")
    // another model of the same shape: its answers differ from the base's
    python(`import sys
from safetensors.torch import load_file, save_file
p = sys.argv[1] + "/model.safetensors"; t = load_file(p); k = [n for n in t if "layers.1.mlp.down_proj" in n or "layers.2.mlp.down_proj" in n]
assert k
save_file({n: (v * 0 if n in k else v) for n, v in t.items()}, p, {"format": "pt"})`, tuned)
    await world.run(
      Effect.gen(function* () {
        const base = yield* packagedOf(FIXTURE, "tiny-llama")
        const other = yield* packagedOf(tuned, "support-bot")
        const packaged = { ...other, exported: { ...other.exported, base: base.exported.base } }
        const endpoint = yield* serve(contextOf(world.home, packaged, { probe: "Are you open on Tuesday?" }))
        const endpoints = yield* Endpoints
        const jobs = yield* Jobs
        const apiKey = yield* endpoints.apiKey(endpoint.id)
        const client = new OpenAI({ baseURL: endpoint.url, apiKey, maxRetries: 0 })
        const messages = [{ role: "user" as const, content: "Are you open on Tuesday?" }]

        const chat = yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages, max_completion_tokens: 20 }))
        expect(chat.model).toBe("support-bot")
        expect(chat.usage?.completion_tokens).toBeGreaterThan(0)
        const again = yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages, max_completion_tokens: 20, temperature: 0 }))
        expect(again.choices[0]?.message.content).toBe(chat.choices[0]?.message.content)
        const streamed = yield* Effect.promise(async () => {
          const chunks = []
          for await (const chunk of await client.chat.completions.create({ model: "support-bot", messages, max_completion_tokens: 20, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk)
          return chunks
        })
        expect(streamed.map((c) => c.choices[0]?.delta.content ?? "").join("")).toBe(chat.choices[0]?.message.content)
        expect(streamed.at(-1)?.usage).toEqual(chat.usage)
        const text = yield* Effect.promise(() => client.completions.create({ model: "support-bot", prompt: "The whale", max_tokens: 12 }))
        expect(text.usage?.completion_tokens).toBe(12)
        expect((yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages, n: 2 }).catch((e: Error) => e.message)))).toContain('"n" is not supported')
        expect((yield* Effect.promise(() => client.completions.create({ model: "support-bot", prompt: "a ".repeat(400) }).catch((e: { code: string }) => e.code)))).toBe("context_length_exceeded")

        const line = (start: string) => world.lines.find((l) => l.startsWith(start))?.slice(start.length)
        expect(line("base model: ")).toBeTruthy()
        expect(line("fine-tuned: ")).toBeTruthy()
        expect(line("base model: ")).not.toBe(line("fine-tuned: "))
        expect(chat.choices[0]?.message.content?.replaceAll(/\s+/g, " ").trim().slice(0, 20)).toBe(line("fine-tuned: ")?.slice(0, 20))

        const stage = plugin.stages.serve!
        const context = contextOf(world.home, packaged, {}, 2)
        expect(yield* stage.alive!(endpoint, context)).toBe(true)
        const first = (yield* endpoints.get(endpoint.id))!
        expect(first).toMatchObject({ state: "healthy" })
        expect(first.upstream).toMatch(/^unix:/)

        // a second run: another package, the same URL and key; the old server ends, and no request in between fails
        const second = { ...packaged, digest: `sha256:${"b".repeat(64)}` as typeof packaged.digest }
        let failed = 0
        let asked = 0
        const asking = yield* Effect.forkChild(
          Effect.forever(
            Effect.promise(() => client.completions.create({ model: "support-bot", prompt: "The", max_tokens: 4 }).then(() => (asked += 1), () => (failed += 1)))
          )
        )
        const replaced = yield* serve(contextOf(world.home, second, {}, 2))
        asking.interruptUnsafe()
        expect([replaced.id, replaced.url, replaced.keyId]).toEqual([endpoint.id, endpoint.url, endpoint.keyId])
        expect([asked > 3, failed]).toEqual([true, 0])
        expect((yield* jobs.state(first.job))._tag).toBe("Ended")
        expect(yield* stage.alive!(endpoint, context)).toBe(false) // of the package before
        expect(yield* stage.alive!(replaced, context)).toBe(true)

        yield* endpoints.stop(endpoint.id)
        expect(yield* stage.alive!(replaced, context)).toBe(false)
        const state = yield* jobs.state((yield* endpoints.get(endpoint.id))!.job)
        expect(state._tag).toBe("Ended")
        // nothing that was asked is in the server's log
        const logs = readdirSync(world.home.jobs).map((job) => readFileSync(join(world.home.jobs, job, "output.log"), "utf8")).join("")
        expect(logs).toContain("hyper-serve answered")
        expect(logs).not.toContain("Tuesday")
      })
    )
  })

  test("an adapter is merged when its server loads it", async () => {
    await world.run(
      Effect.gen(function* () {
        adapterFor(FIXTURE, join(scratch, "adapter"))
        const packaged = yield* packagedOf(FIXTURE, "with-adapter", { adapter: join(scratch, "adapter") })
        const endpoint = yield* serve(contextOf(world.home, packaged, { probe: "Are you open?" }))
        expect(endpoint.model).toBe("with-adapter")
        const answers = world.lines.filter((line) => /^(base model|fine-tuned): /.test(line)).map((line) => line.slice(12))
        expect(answers.length).toBe(2)
        expect(answers[0]).not.toBe(answers[1])
      })
    )
  })

  test("without a chat template: completions are served, chat is refused with the remedy", async () => {
    const plain = copyOf("plain")
    rmSync(join(plain, "chat_template.jinja"))
    await world.run(
      Effect.gen(function* () {
        const endpoint = yield* serve(contextOf(world.home, yield* packagedOf(plain, "plain"), {}))
        expect(world.lines.some((line) => line.includes("no chat template"))).toBe(true)
        const client = new OpenAI({ baseURL: endpoint.url, apiKey: yield* Endpoints.use((e) => e.apiKey(endpoint.id)), maxRetries: 0 })
        const refused = yield* Effect.promise(() => client.chat.completions.create({ model: "plain", messages: [{ role: "user", content: "x" }] }).catch((e: { code: string; message: string }) => e))
        expect(refused).toMatchObject({ code: "no_chat_template", message: expect.stringContaining("/v1/completions") })
      })
    )
  })

  test("what cannot be served is said, leaves nothing running, and leaves what was served before", async () => {
    const broken = copyOf("broken")
    writeFileSync(join(broken, "config.json"), readFileSync(join(broken, "config.json"), "utf8").replace('"llama"', '"no-such-model"').replace(/"architectures": \[[^\]]*\],/, ""))
    const short = copyOf("short")
    truncateSync(join(short, "model.safetensors"), 100_000)
    const blocker = createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => blocker.once("listening", resolve))
    const { port } = blocker.address() as { port: number }
    try {
      await world.run(
        Effect.gen(function* () {
          const good = yield* serve(contextOf(world.home, yield* packagedOf(FIXTURE, "good"), {}))
          const jobs = yield* Jobs
          const before = (yield* jobs.list).length
          const cases = [
            { packaged: yield* packagedOf(broken, "good", { digest: "c" }), options: {}, reason: "InvalidInput", says: "the model cannot be loaded" },
            { packaged: yield* packagedOf(short, "good", { digest: "d" }), options: {}, reason: "InvalidInput", says: "the model cannot be loaded" },
            { packaged: yield* packagedOf(FIXTURE, "good", { digest: "e" }), options: { port }, reason: "InvalidInput", says: `port ${port} cannot be listened on` },
            { packaged: yield* packagedOf(FIXTURE, "good", { digest: "f" }), options: { device: "cuda:7" }, reason: "InvalidInput", says: "sees no CUDA device" }
          ]
          for (const [i, { options, packaged, reason: expected, says }] of cases.entries()) {
            const error = yield* Effect.flip(serve(contextOf(world.home, packaged, options, i + 10)))
            expect([error.reason, error.message.includes(says), error.remedy !== undefined], error.message).toEqual([expected, true, true])
          }
          const states = yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.state(handle))
          expect(states.length).toBe(before + cases.length)
          expect(states.filter((state) => state._tag === "Running").length).toBe(1)
          expect(yield* endpointsOf).toMatchObject([{ endpoint: good, state: "healthy" }])
          expect(yield* plugin.stages.serve!.alive!(good, contextOf(world.home, cases[0]!.packaged, {}))).toBe(true)
        })
      )
    } finally {
      blocker.close()
    }
  })

  test("a server that is killed comes back by its supervisor; an interrupted start leaves none", async () => {
    await world.run(
      Effect.gen(function* () {
        const packaged = yield* packagedOf(FIXTURE, "bot")
        const endpoint = yield* serve(contextOf(world.home, packaged, {}))
        const jobs = yield* Jobs
        const record = (yield* Endpoints.use((e) => e.get(endpoint.id)))!
        const state = yield* jobs.state(record.job)
        if (state._tag !== "Running") throw new Error("not running")
        process.kill(state.pid, "SIGKILL")
        const alive = plugin.stages.serve!.alive!(endpoint, contextOf(world.home, packaged, {}))
        let back = false
        for (let i = 0; i < 120 && !back; i++) {
          yield* Effect.sleep("500 millis")
          back = yield* alive
        }
        expect(back).toBe(true)
        const starting = yield* Effect.forkChild(serve(contextOf(world.home, { ...packaged, digest: `sha256:${"9".repeat(64)}` as typeof packaged.digest }, {}, 5)))
        while ((yield* jobs.list).length < 2) yield* Effect.sleep("50 millis")
        yield* Effect.sleep("300 millis")
        const { interrupt } = yield* Effect.promise(() => import("effect/Fiber"))
        yield* interrupt(starting)
        const states = yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.state(handle))
        expect(states.map((s) => s._tag).toSorted()).toEqual(["Ended", "Running"])
        expect(yield* alive).toBe(true)
      })
    )
  })
})
