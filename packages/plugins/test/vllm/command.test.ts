import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { afterAll, describe, expect, test } from "vitest"
import { vllmCommand, vllmEnv } from "../../src/vllm/command.ts"
import { vllm } from "../../src/vllm/index.ts"
import { usableVllm } from "../../src/vllm/installed.ts"
import { Options } from "../../src/vllm/Options.ts"

const decoded = (options: unknown): Options => Schema.decodeUnknownSync(Options)(options)
const files = { model: "/job/model", tokenizer: "/job/base", base: "/job/base" }
const launch = (options: unknown) => ({ program: "/opt/vllm/bin/vllm", options: decoded(options), files, name: "bot", listen: { socket: "/run/m.sock" } as const })

describe("the command line", () => {
  test("of the defaults: a socket, whose file of a life before is removed first", () => {
    expect(vllmCommand(launch({}))).toEqual([
      "/bin/sh", "-c", 'rm -f -- "$1"; shift; exec "$@"', "vllm", "/run/m.sock",
      "/opt/vllm/bin/vllm", "serve", "/job/model", "--tokenizer", "/job/base", "--served-model-name", "bot", "--uds", "/run/m.sock", "--dtype", "auto", "--no-enable-log-requests"
    ])
  })
  test("of every option", () => {
    const options = { port: 8000, dtype: "bfloat16", maxModelLen: 4096, tensorParallel: 2, gpuMemoryUtilization: 0.85, maxSequences: 32, eager: true }
    expect(vllmCommand({ ...launch(options), listen: { port: 8000 } })).toEqual([
      "/opt/vllm/bin/vllm", "serve", "/job/model", "--tokenizer", "/job/base", "--served-model-name", "bot", "--host", "127.0.0.1", "--port", "8000", "--dtype", "bfloat16",
      "--max-model-len", "4096", "--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.85", "--max-num-seqs", "32", "--enforce-eager", "--no-enable-log-requests"
    ])
  })
  test.each([[1, "1"], [4, "8"], [16, "16"], [20, "32"], [512, "512"]])("an adapter of rank %i is served by its name, beside its base", (loraRank, most) => {
    const command = vllmCommand({ ...launch({}), files: { ...files, adapter: "/job/a=b" }, loraRank })
    expect(command.slice(command.indexOf("--served-model-name"), command.indexOf("--uds"))).toEqual(["--served-model-name", "bot.base", "--enable-lora", "--max-lora-rank", most, "--lora-modules", '{"name":"bot","path":"/job/a=b"}'])
  })
  test("the environment: devices and vLLM's settings pass, keys and everything else do not", () => {
    const env = vllmEnv("/job", "/cache", { PATH: "/bin", CUDA_VISIBLE_DEVICES: "1", VLLM_ATTENTION_BACKEND: "X", VLLM_API_KEY: "secret", HF_TOKEN: "secret", VLLM_CACHE_ROOT: "/else", AWS_SECRET_ACCESS_KEY: "secret" })
    expect(env).toMatchObject({ PATH: "/bin", CUDA_VISIBLE_DEVICES: "1", VLLM_ATTENTION_BACKEND: "X", HOME: "/job", VLLM_CACHE_ROOT: "/cache/vllm", HF_HUB_OFFLINE: "1", VLLM_NO_USAGE_STATS: "1" })
    expect(Object.values(env)).not.toContain("secret")
  })
})

describe("options", () => {
  const refused: ReadonlyArray<readonly [unknown, RegExp]> = [
    [{ gpuMemoryUtilization: 1.5 }, /above 0, at most 1/],
    [{ gpuMemoryUtilization: 0 }, /above 0/],
    [{ dtype: "int8" }, /dtype|int8/],
    [{ maxModelLen: 1.5 }, /maxModelLen|integer/],
    [{ tensorParallel: 0 }, /tensorParallel/],
    [{ port: 70_000 }, /port/],
    [{ name: "../x" }, /name/],
    [{ device: "cpu", tensorParallel: 2 }, /number of GPUs/],
    [{ device: "cpu", gpuMemoryUtilization: 0.5 }, /no effect/]
  ]
  test.each(refused)("%j is refused", (options, says) => {
    expect(() => decoded(options)).toThrow(says)
  })
  test("what the factory takes, the schema takes", () => {
    expect(decoded(vllm({ name: "bot", dtype: "float16", device: "auto" }).options)).toEqual({ name: "bot", dtype: "float16", device: "auto", tensorParallel: 1 })
  })
})

describe("which vLLM", () => {
  const directory = mkdtempSync(join(tmpdir(), "htv-"))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  const program = join(directory, "vllm")
  writeFileSync(program, "#!/bin/sh\n", { mode: 0o755 })
  const plain = join(directory, "plain")
  writeFileSync(plain, "x", { mode: 0o644 })

  test("is the one that HYPER_VLLM names, else the one on the PATH", () => {
    expect(usableVllm({ device: "auto" }, { PATH: `/nowhere:${directory}` }, true)).toBe(program)
    expect(usableVllm({ device: "cpu" }, { HYPER_VLLM: program, PATH: "" }, false)).toBe(program)
  })
  test.each([
    ["no GPU", "auto", { HYPER_VLLM: program }, false, /needs a GPU, and this machine shows none/, /transformers\(\).*device: "cpu"/],
    ["no program", "auto", { PATH: "/nowhere" }, true, /no program `vllm` on the PATH/, /set HYPER_VLLM/],
    ["a file that does not run", "cpu", { HYPER_VLLM: plain }, false, /no absolute path of a program/, /set HYPER_VLLM/],
    ["a relative path", "cpu", { HYPER_VLLM: "vllm" }, false, /no absolute path of a program/, /set HYPER_VLLM/]
  ] as const)("%s is said, with what to do", (_, device, environment, hasGpu, says, remedy) => {
    const error = usableVllm({ device }, environment, hasGpu)
    if (typeof error === "string") throw new Error(error)
    expect([error.reason, error.message, error.remedy]).toEqual(["Missing", expect.stringMatching(says), expect.stringMatching(remedy)])
  })
  test("at plan time it is a refusal", async () => {
    const { default: plugin } = await import("../../src/vllm/plugin.ts")
    const before = process.env["HYPER_VLLM"]
    process.env["HYPER_VLLM"] = plain
    try {
      const estimate = await Effect.runPromise(plugin.stages.serve!.estimate!(decoded({ device: "cpu", port: 8000 }), { projectDirectory: directory }))
      expect(estimate.notes.map(({ level }) => level)).toEqual(["refuse", "warn"])
    } finally {
      if (before === undefined) delete process.env["HYPER_VLLM"]
      else process.env["HYPER_VLLM"] = before
    }
  })
})
