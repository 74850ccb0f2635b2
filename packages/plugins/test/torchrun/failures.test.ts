/** How ends are told apart, and that nothing a process printed freely is repeated. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { JobState } from "@hypernode/engine/capability/Jobs"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { sayable, trainingFailure } from "../../src/torchrun/failures.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tf-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const ended = (more: Partial<Extract<JobState, { _tag: "Ended" }>>): JobState => ({ _tag: "Ended", exitCode: null, signal: null, startedAt: 0, endedAt: 1, cancelled: false, ...more })
const failure = (state: JobState, log = "") => {
  writeFileSync(join(directory, "output.log"), log)
  return trainingFailure(state, directory)
}

describe("a training's end", () => {
  const cases: ReadonlyArray<readonly [string, JobState, string, string, string]> = [
    ["wrong input", ended({ exitCode: 65 }), "error: step 3: the loss is not a finite number; there is no checkpoint yet. Lower learningRate, or raise warmupSteps\n", "InvalidInput", "step 3: the loss is not a finite number"],
    ["killed", ended({ signal: "SIGKILL" }), "", "JobFailed", "memory"],
    ["killed inside its sandbox", ended({ exitCode: 137 }), "", "JobFailed", "memory"],
    ["a rank killed", ended({ exitCode: 1 }), "error: the ranks ended with status [-9] and are not started again; their last lines are above\n", "JobFailed", "SIGKILL"],
    ["CUDA out of memory", ended({ exitCode: 1 }), "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n", "OutOfSpace", "ran out of memory"],
    ["a container's memory limit", ended({ exitCode: 137 }), "error: container: Cannot allocate memory: its limit of 512 MiB was reached, and the system ended a process in it\n", "OutOfSpace", "limit of 512 MiB"],
    ["an engine that is gone", ended({ exitCode: 125 }), "error: container: Cannot wait for container 1a2b: the Docker engine at unix:///var/run/docker.sock stopped answering half-way\n", "JobFailed", "stopped answering"],
    ["disk full", ended({ exitCode: 65 }), "error: the checkpoint of step 4 could not be written to /x (No space left on device); make room or choose another home, then resume\n", "OutOfSpace", "disk is full"],
    ["lease refused", ended({ exitCode: 65 }), "error: slot 0: the lease was refused: revoked\n", "Denied", "revoked"],
    ["daemon away", ended({ exitCode: 65 }), "error: slot 0: no answer from the lease socket for 600 seconds; is the hyper daemon running?\n", "Unavailable", "lease socket"],
    ["segment changed", ended({ exitCode: 65 }), "error: segment 2: its bytes do not open with the leased key; the file was changed or belongs to another job\n", "Corrupt", "segment 2"],
    ["cancelled", ended({ signal: "SIGTERM", cancelled: true }), "", "Cancelled", "cancelled"],
    ["lost", { _tag: "Lost", message: "The supervisor of job x is gone" }, "", "JobFailed", "supervisor"],
    ["a bug", ended({ exitCode: 1 }), "Traceback (most recent call last):\n  File \"/p/hyper_trainer/loop.py\", line 88, in _step\n    x = secret_row\nValueError: canary-8842 could not be parsed\n", "JobFailed", "at hyper_trainer/loop.py:88; ValueError"]
  ]
  for (const [name, state, log, reason, part] of cases) {
    it(name, () => {
      const error = failure(state, log)
      expect([error.reason, error.message]).toEqual([reason, expect.stringContaining(part)])
      expect(`${error.message}${error.remedy}`).not.toContain("canary-8842")
    })
  }

  it("repeats the trainer's own sentences and exceptions' names only", () => {
    const log = "my private row\nuser: canary-8842\nKeyError: 'canary-8842'\nerror: sentence\nerror: sentence\n"
    expect(sayable(log)).toEqual(["KeyError", "sentence"])
    // planted: a line in the trainer's own form does pass
    expect(sayable("error: canary-8842").join()).toContain("canary-8842")
  })
})
