/** The whole stage over a stand-in that replays a real vLLM (replay.ts); the real one: real.soak.ts. */
import { spawnSync } from "node:child_process"
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import type { Model } from "@hypernode/engine/stage/values"
import OpenAI from "openai"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Options } from "../../src/vllm/Options.ts"
import plugin from "../../src/vllm/plugin.ts"
import { serve } from "../../src/vllm/serve.ts"
import { contextOf, endpointsOf, FIXTURE, openWorld, packagedOf, type World } from "../serving/world.ts"

let world: World
let scratch: string
let before: string | undefined
beforeEach(() => {
  world = openWorld()
  scratch = mkdtempSync(join(tmpdir(), "htv-"))
  const program = join(scratch, "vllm")
  writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${join(import.meta.dirname, "replay.ts")} "$@"\n`)
  chmodSync(program, 0o755)
  before = process.env["HYPER_VLLM"]
  process.env["HYPER_VLLM"] = program
})
afterEach(async () => {
  if (before === undefined) delete process.env["HYPER_VLLM"]
  else process.env["HYPER_VLLM"] = before
  delete process.env["VLLM_REPLAY_FAILS"]
  await world.close()
  rmSync(scratch, { recursive: true, force: true })
})

const options = (more: Partial<Options> = {}): Options => ({ device: "cpu", dtype: "auto", tensorParallel: 1, ...more })

describe("vllm", () => {
  test("serves a package, then an adapter under the same URL; comes back by its supervisor, though its socket is left behind", async () => {
    await world.run(
      Effect.gen(function* () {
        const packaged = yield* packagedOf(FIXTURE, "support-bot")
        const endpoint = yield* serve(contextOf(world.home, packaged, options({ maxModelLen: 256, eager: true })))
        const client = new OpenAI({ baseURL: endpoint.url, apiKey: yield* Endpoints.use((endpoints) => endpoints.apiKey(endpoint.id)), maxRetries: 0 })
        const messages = [{ role: "user" as const, content: "Hello" }]
        const chat = yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages }))
        expect([chat.model, chat.usage?.completion_tokens]).toEqual(["support-bot", 8])
        const streamed = yield* Effect.promise(async () => {
          let said = ""
          for await (const chunk of await client.chat.completions.create({ model: "support-bot", messages, stream: true })) said += chunk.choices[0]?.delta.content ?? ""
          return said
        })
        expect(streamed).toBe(chat.choices[0]?.message.content)

        const adapter = join(scratch, "adapter")
        mkdirSync(adapter)
        writeFileSync(join(adapter, "adapter_config.json"), JSON.stringify({ r: 20 }))
        const adapted = yield* serve(contextOf(world.home, yield* packagedOf(FIXTURE, "adapted", { adapter, digest: "b" }), options(), 2))
        expect([adapted.url, adapted.model]).toEqual([endpoint.url, "adapted"])
        const jobs = yield* Jobs
        const record = (yield* Endpoints.use((endpoints) => endpoints.get(adapted.id)))!
        const running = yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.state(handle))
        expect(running.map(({ _tag }) => _tag).toSorted()).toEqual(["Ended", "Running"])

        const state = yield* jobs.state(record.job)
        if (state._tag !== "Running") throw new Error("not running")
        process.kill(state.pid, "SIGKILL")
        const alive = plugin.stages.serve!.alive!(adapted, contextOf(world.home, packaged, options(), 2))
        let back = false
        for (let i = 0; i < 100 && !back; i++) {
          yield* Effect.sleep("200 millis")
          back = yield* alive
        }
        expect(back).toBe(true)
        // planted: without the removal, what is left of a life before keeps the next one from listening
        const again = spawnSync(process.env["HYPER_VLLM"] as string, ["serve", FIXTURE, "--uds", record.upstream.slice("unix:".length)], { encoding: "utf8" })
        expect([again.status, again.stderr.includes("Address already in use")]).toEqual([1, true])
      })
    )
  })

  test("a model as it was selected is served too", async () => {
    await world.run(
      Effect.gen(function* () {
        const { exported } = yield* packagedOf(FIXTURE, "x")
        const model: Model = exported.base
        const endpoint = yield* serve({ ...contextOf(world.home, {} as never, options()), input: { model } })
        expect([endpoint.model, endpoint.packaged]).toEqual(["tiny-llama", model.tree.digest])
      })
    )
  })

  test("what vLLM cannot do is said, leaves nothing running, and leaves what was served before", async () => {
    const blocker = createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => blocker.once("listening", resolve))
    const { port } = blocker.address() as { port: number }
    const steep = join(scratch, "steep")
    mkdirSync(steep)
    writeFileSync(join(steep, "adapter_config.json"), JSON.stringify({ r: 8, rank_pattern: { q_proj: 1024 } }))
    const plain = join(scratch, "plain")
    cpSync(FIXTURE, plain, { recursive: true })
    rmSync(join(plain, "chat_template.jinja"))
    try {
      await world.run(
        Effect.gen(function* () {
          const good = yield* serve(contextOf(world.home, yield* packagedOf(plain, "good"), options()))
          expect(world.lines.some((line) => line.includes("no chat template"))).toBe(true)
          const packaged = yield* packagedOf(FIXTURE, "good", { digest: "c" })
          const failures = [
            { fails: "memory", reason: "OutOfSpace", says: "not enough memory" },
            { fails: "broken", reason: "InvalidInput", says: "does not know this model's architecture" },
            { options: options({ port }), reason: "InvalidInput", says: "its port: it is in use" },
            { packaged: yield* packagedOf(FIXTURE, "good", { adapter: steep, digest: "d" }), reason: "InvalidInput", says: "this one has rank 1024" },
            { program: join(scratch, "nowhere"), reason: "Missing", says: "no absolute path of a program" }
          ]
          for (const [i, failure] of failures.entries()) {
            const program = process.env["HYPER_VLLM"]
            if (failure.program !== undefined) process.env["HYPER_VLLM"] = failure.program
            if (failure.fails !== undefined) process.env["VLLM_REPLAY_FAILS"] = failure.fails
            const error = yield* Effect.flip(serve(contextOf(world.home, failure.packaged ?? packaged, failure.options ?? options(), i + 10)))
            expect([error.reason, error.message.includes(failure.says), error.remedy !== undefined], error.message).toEqual([failure.reason, true, true])
            process.env["HYPER_VLLM"] = program
            delete process.env["VLLM_REPLAY_FAILS"]
          }
          const jobs = yield* Jobs
          const states = yield* Effect.forEach(yield* jobs.list, ({ handle }) => jobs.state(handle))
          expect(states.filter((state) => state._tag === "Running").length).toBe(1)
          expect(yield* endpointsOf).toMatchObject([{ endpoint: good, state: "healthy" }])
        })
      )
    } finally {
      blocker.close()
    }
  })
})
