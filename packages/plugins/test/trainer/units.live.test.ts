import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import { baseConfig, python, pythonPackage, pythonReady } from "./job.ts"

const segment = (index: number) => ({ index, path: `segment-${index}.age`, rows: 3 })
const config = { ...baseConfig, leaseSocket: "s", checkpointDirectory: "c", resultDirectory: "r", slots: [0, 1].map((slot) => ({ slot, segments: [segment(slot)] })) }
const env = { PATH: process.env["PATH"] ?? "", PYTHONPATH: pythonPackage, PYTHONDONTWRITEBYTECODE: "1", HYPER_TEST_CONFIG: JSON.stringify(config) }

describe.skipIf(!pythonReady())("the trainer's parts", () => {
  it("pass their own tests", async () => {
    const ended = await promisify(execFile)(python ?? "", [join(import.meta.dirname, "units.py")], { env })
    expect(ended.stderr).toMatch(/Ran \d\d tests/)
    expect(ended.stderr).toMatch(/\nOK\n/)
  })

  it("a probe prints versions without importing torch", async () => {
    const { stdout } = await promisify(execFile)(python ?? "", ["-X", "importtime", "-m", "hyper_trainer.probe"], { env }).then((ended) => {
      expect(ended.stderr).not.toMatch(/\| +torch$/m)
      expect(ended.stderr).toMatch(/\| +json$/m)
      return ended
    })
    expect(JSON.parse(stdout)).toMatchObject({ python: expect.stringMatching(/^3\./), torch: expect.any(String), missing: [] })
  })
})
