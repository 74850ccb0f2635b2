/** What is said before anything runs: options, addresses, and a GGUF model that is wired to training. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { afterAll, describe, expect, test } from "vitest"
import { planFile } from "@hypernode/engine/plan/planFile"
import { olderConfig, tokenizerConfig } from "../../src/ollama/modelFiles.ts"
import { hostOf, nameFor, SelectOptions, ServeOptions, withTag } from "../../src/ollama/Options.ts"
import plugin from "../../src/ollama/plugin.ts"

const directory = mkdtempSync(join(tmpdir(), "hto-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const plan = (body: string, name: string) => {
  const path = join(directory, `${name}.ts`)
  writeFileSync(path, `import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { balanced } from "@hypernode/plugins/balanced"
import { local } from "@hypernode/plugins/local"
import { ollama, ollamaModel } from "@hypernode/plugins/ollama"
import { torchrun } from "@hypernode/plugins/torchrun"
import { transformers } from "@hypernode/plugins/transformers"
export default pipeline("x", (p) => {
${body}
})
`)
  return Effect.runPromise(Effect.result(planFile(path, { estimate: false })))
}

describe("a GGUF model", () => {
  test("is refused where it would be trained on, sealed for, or given to another server; with what to do", async () => {
    const result = await plan(`  const { dataset } = p.select(local({ dataset: "./rows.jsonl" }))
  const { model } = p.select(ollamaModel({ model: "llama3.2:1b" }))
  const shards = p.shard(balanced({ parts: 1 }), { sealed: p.encrypt(age(), { dataset, model }) })
  p.train(torchrun(), { model, shards })
  p.serve(transformers(), { model })`, "refused")
    if (result._tag !== "Failure") throw new Error("it was planned")
    const { message } = result.failure
    for (const path of ["steps.encrypt.inputs.model", "steps.train.inputs.model", "steps.serve.inputs.model"]) expect(message).toContain(path)
    expect(message).toMatch(/GGUF.*neither trained/)
    expect(message).toMatch(/to fine-tune, select the model that it was made from: hfHub/)
  })
  test("is planned where Ollama serves it", async () => {
    const result = await plan(`  const { model } = p.select(ollamaModel({ model: "llama3.2:1b" }))\n  p.serve(ollama(), { model })`, "served")
    expect(result._tag === "Success" ? result.success.plan.steps.map(({ plugin: { id }, kind }) => `${id} ${kind}`) : result.failure.message).toEqual(["ollama select", "ollama serve"])
  })
})

describe("options", () => {
  const select = Schema.decodeUnknownSync(SelectOptions)
  const serve = Schema.decodeUnknownSync(ServeOptions)
  test.each(["llama3.2:1b", "smollm2", "library/llama3", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "127.0.0.1:5000/library/x:latest"])("%s is a model", (model) => {
    expect(select({ model })).toEqual({ model, pull: true })
  })
  test.each(["", "a b", "../x", "a:b:c:d", "-x"])("%j is none", (model) => {
    expect(() => select({ model })).toThrow(/ollama pull|pattern|model/)
  })
  test.each([[{ name: "Bot" }], [{ name: "bot:latest" }], [{ quantize: "q2" }], [{ context: 1 }]])("%j is refused", (options) => {
    expect(() => serve(options)).toThrow()
  })
  test("names and tags", () => {
    expect([nameFor({}, "Support Bot!"), nameFor({ name: "x" }, "y"), nameFor({}, "—"), withTag("a"), withTag("a:b"), withTag("h:5/a")]).toEqual(["support-bot", "x", "model", "a:latest", "a:b", "h:5/a:latest"])
  })
  test.each([
    [{}, {}, "http://127.0.0.1:11434"],
    [{}, { OLLAMA_HOST: "0.0.0.0:11500" }, "http://127.0.0.1:11500"],
    [{}, { OLLAMA_HOST: ":11500" }, "http://127.0.0.1:11500"],
    [{}, { OLLAMA_HOST: "127.0.0.1" }, "http://127.0.0.1:11434"],
    [{ host: "http://localhost:1" }, { OLLAMA_HOST: "0.0.0.0:11500" }, "http://localhost:1"]
  ])("%j with %j is %s", (options, environment, host) => {
    expect(hostOf(options, environment)).toBe(host)
  })
  test.each([["http://10.0.0.7:11434", "Denied"], ["https://ollama.example", "Denied"], ["http://127.0.0.1.evil.example:1", "Denied"], ["http://[", "InvalidInput"]])("%s is refused: what callers ask stays on this machine", async (host, reason) => {
    expect(hostOf({ host }, {})).toMatchObject({ reason, remedy: expect.stringContaining("127.0.0.1") })
    const estimate = await Effect.runPromise(plugin.stages.select!.estimate!({ model: "x", pull: true, host }, { projectDirectory: "." }))
    expect(estimate.notes[0]?.level).toBe("refuse")
  })
})

describe("files that are rewritten for Ollama's converter", () => {
  test("rotary settings of transformers 5 stand where it reads them", () => {
    expect(olderConfig({ rope_parameters: { rope_theta: 500_000, rope_type: "llama3", factor: 8 } })).toMatchObject({ rope_theta: 500_000, rope_scaling: { rope_type: "llama3", factor: 8 } })
    expect(olderConfig({ rope_parameters: { rope_theta: 10_000, rope_type: "default" } })).not.toHaveProperty("rope_scaling")
    const older = { rope_theta: 5 }
    expect(olderConfig(older)).toBe(older)
  })
  test("a template that writes the first token itself gets no other before it", () => {
    expect([tokenizerConfig({ add_bos_token: true }, true), tokenizerConfig({ add_bos_token: true }, false)]).toEqual([{ add_bos_token: false }, { add_bos_token: true }])
  })
})
