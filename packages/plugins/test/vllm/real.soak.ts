/**
 * A real vLLM, where HYPER_VLLM names one (cpuBuild.sh makes one): `HYPER_VLLM=/path/to/bin/vllm npx vitest run --project soak packages/plugins/test/vllm`.
 * HYPER_VLLM_DEVICE=auto for a build for GPUs. It takes minutes on a CPU, so `npm test` drives the replay of what this one answered.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { Options } from "../../src/vllm/Options.ts"
import plugin from "../../src/vllm/plugin.ts"
import { serve } from "../../src/vllm/serve.ts"
import { adapterFor, contextOf, endpointsOf, FIXTURE, openWorld, packagedOf, type World } from "../serving/world.ts"

const real = process.env["HYPER_VLLM"]
const options: Options = { device: process.env["HYPER_VLLM_DEVICE"] === "auto" ? "auto" : "cpu", dtype: "float32", tensorParallel: 1, maxModelLen: 256, eager: true }

describe.skipIf(real === undefined)("vllm, a real one", () => {
  let world: World
  let scratch: string
  beforeAll(() => {
    world = openWorld()
    scratch = mkdtempSync(join(tmpdir(), "htv-"))
    process.env["VLLM_CPU_KVCACHE_SPACE"] = "1"
  })
  afterAll(async () => {
    await world.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  test("a package, its adapter, a server that is killed, and options that the model does not bear", async () => {
    adapterFor(FIXTURE, join(scratch, "adapter"))
    await world.run(
      Effect.gen(function* () {
        const full = yield* packagedOf(FIXTURE, "full")
        const endpoint = yield* serve(contextOf(world.home, full, options, 1))
        const apiKey = yield* Endpoints.use((endpoints) => endpoints.apiKey(endpoint.id))
        const client = new OpenAI({ baseURL: endpoint.url, apiKey, maxRetries: 0 })
        const ask = (model: string) => Effect.promise(() => client.chat.completions.create({ model, messages: [{ role: "user", content: "Are you open?" }], max_tokens: 12, temperature: 0 }))
        const plain = yield* ask("full")
        expect(plain.usage?.completion_tokens).toBeGreaterThan(0)

        const lora = yield* serve(contextOf(world.home, yield* packagedOf(FIXTURE, "lora", { adapter: join(scratch, "adapter"), digest: "b" }), options, 2))
        const adapted = yield* ask("lora")
        expect(adapted.choices[0]?.message.content).not.toBe(plain.choices[0]?.message.content)

        // its socket's file is left behind, and must not keep the next life from listening
        const jobs = yield* Jobs
        const record = (yield* Endpoints.use((endpoints) => endpoints.get(lora.id)))!
        const state = yield* jobs.state(record.job)
        if (state._tag !== "Running") throw new Error("not running")
        process.kill(state.pid, "SIGKILL")
        const alive = plugin.stages.serve!.alive!(lora, contextOf(world.home, full, options))
        let back = false
        for (let i = 0; i < 300 && !back; i++) {
          yield* Effect.sleep("1 second")
          back = yield* alive
        }
        expect(back, readFileSync(join(record.job.directory, "output.log"), "utf8").slice(-2000)).toBe(true)

        const error = yield* Effect.flip(serve(contextOf(world.home, { ...full, digest: `sha256:${"c".repeat(64)}` as typeof full.digest }, { ...options, maxModelLen: 9999 }, 3)))
        expect(error).toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("max_model_len (9999)") })
        expect(yield* endpointsOf).toMatchObject([{ endpoint: lora, state: "healthy" }])
      })
    )
  }, 1_800_000)
})
