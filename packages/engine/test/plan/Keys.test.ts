import { assert, describe, it } from "@effect/vitest"
import type { Digest } from "../../src/artifact/Digest.ts"
import { cacheKey, effectKey, jobKey } from "../../src/plan/Keys.ts"

const step = {
  kind: "train",
  plugin: { id: "torchrun", specifier: "@hypernode/plugins/torchrun", version: "0.1.0", sourceDigest: `sha256:${"a".repeat(64)}` as Digest, contractVersion: 1 },
  options: { epochs: 2, token: { $secret: "HF_TOKEN" } }
}
const of = { tenant: "owner", step, fingerprint: { trainer: "t1" }, inputs: { model: { digest: "m" }, shards: { n: 2 } } }

describe("the three keys", () => {
  it("cacheKey depends on everything that may change the output, and on nothing else", () => {
    const key = cacheKey(of)
    assert.match(key, /^sha256:[0-9a-f]{64}$/)
    const differ = [
      { ...of, tenant: "other" },
      { ...of, fingerprint: { trainer: "t2" } },
      { ...of, inputs: { ...of.inputs, shards: { n: 3 } } },
      { ...of, step: { ...step, kind: "encrypt" } },
      { ...of, step: { ...step, options: { ...step.options, epochs: 3 } } },
      { ...of, step: { ...step, options: { ...step.options, token: { $secret: "OTHER" } } } },
      { ...of, step: { ...step, plugin: { ...step.plugin, sourceDigest: `sha256:${"b".repeat(64)}` as Digest } } },
      { ...of, step: { ...step, plugin: { ...step.plugin, contractVersion: 2 } } }
    ].map((other) => cacheKey(other))
    assert.strictEqual(new Set([key, ...differ]).size, differ.length + 1)
    const same = [
      { ...of, step: { ...step, options: { token: { $secret: "HF_TOKEN" }, epochs: 2 } } },
      { ...of, step: { ...step, plugin: { ...step.plugin, specifier: "./mine.ts", version: "9" } } },
      { ...of, inputs: { shards: { n: 2 }, model: { digest: "m" } } }
    ].map((other) => cacheKey(other))
    assert.deepStrictEqual(same, [key, key, key])
  })

  it("is stable across releases", () => {
    assert.strictEqual(cacheKey(of), "sha256:37c87710ad2c2be3b4fec3aa0bf7e8a7661a1f9a172b6ae72327cdbf4cf3d2f9")
  })

  it("jobKey and effectKey cannot be confused, whatever the ids", () => {
    assert.strictEqual(jobKey("r1", "train", 1), "r1/train/1")
    assert.strictEqual(effectKey("r1", "train"), "r1/train")
    assert.notStrictEqual(effectKey("a/b", "c"), effectKey("a", "b/c"))
    assert.notStrictEqual(jobKey("a", "b/1", 1), jobKey("a/b", "1", 1))
  })
})
