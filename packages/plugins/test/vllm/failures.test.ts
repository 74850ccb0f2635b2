/** Over what a real vLLM 0.32 for CPUs wrote when it was asked for what it cannot do (recorded/); a GPU's sentences are from its source. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import type { JobState } from "@hypernode/engine/capability/Jobs"
import { startFailure } from "../../src/vllm/failures.ts"

const ended: JobState = { _tag: "Ended", exitCode: 1, signal: null, startedAt: 0, endedAt: 1, cancelled: false }
const recorded = (name: string): string => readFileSync(join(import.meta.dirname, "recorded", `${name}.log`), "utf8")

describe("what vLLM ended with", () => {
  test.each([
    ["memory", "OutOfSpace", /less than requested memory for kv \(4000\.0 GiB\)/, /Lower maxModelLen/],
    ["port", "InvalidInput", /cannot listen on its port/, /Leave `port` out/],
    ["toolong", "InvalidInput", /max_model_len \(9999\) is greater than the derived max_model_len/, /leave it out/],
    ["broken", "InvalidInput", /does not recognize this architecture/, /transformers\(\)/],
    ["short", "InvalidInput", /weights cannot be read: .*SafetensorError/, /checkpoint step/],
    ["flag", "Missing", /unrecognized arguments: --no-such-flag/, /0\.11/],
    ["tp", "JobFailed", /attention heads \(4\) must be divisible by tensor parallel size \(3\)/, /hyper logs/]
  ])("%s", (name, reason, says, remedy) => {
    const error = startFailure(recorded(name), ended)
    expect([error.reason, error.message, error.remedy]).toEqual([reason, expect.stringMatching(says), expect.stringMatching(remedy)])
  })

  test.each([
    "ValueError: Free memory on device cuda:0 (3.1/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
    "ValueError: To serve at least one request with the models's max seq len (131072), (16.0 GiB KV cache is needed, which is larger than the available KV cache memory (5.2 GiB).",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
  ])("a GPU's memory: %s", (line) => {
    const error = startFailure(`(EngineCore pid=7) ERROR 11-25 02:57:00 [core.py:1510] Traceback (most recent call last):\n(EngineCore pid=7) ERROR 11-25 02:57:00 [core.py:1510] ${line}\n`, ended)
    expect([error.reason, error.message, error.remedy]).toEqual(["OutOfSpace", expect.stringContaining(line.slice(0, 60)), expect.stringContaining("hyper endpoints")])
  })

  test("ended from outside, without a word; and a program that does not start", () => {
    expect(startFailure("INFO loading\n", { ...ended, exitCode: null, signal: "SIGKILL" })).toMatchObject({ reason: "OutOfSpace", message: expect.stringContaining("(SIGKILL)") })
    expect(startFailure("", { ...ended, exitCode: 126, note: "/opt/vllm did not start: spawn EACCES" })).toMatchObject({ reason: "Missing", message: expect.stringContaining("EACCES") })
  })
})
