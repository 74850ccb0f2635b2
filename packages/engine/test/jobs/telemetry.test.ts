/** What a supervisor signs: known fields only, in chained batches that verify; nothing lost, nothing twice. */
import { generateKeyPairSync } from "node:crypto"
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { sampleOf, TelemetryTail } from "../../src/jobs/TelemetryTail.ts"
import { nodeIdOf, verifyBatch } from "../../src/telemetry/batch.ts"
import type { SignedBatch } from "../../src/telemetry/Sample.ts"

const nodeKey = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString()
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ht-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const line = (step: number, more: object = {}) => `${JSON.stringify({ at: 1000 + step, rank: 0, kind: "step", step, loss: 1 / 3, ...more })}\n`
const tail = () => new TelemetryTail({ from: join(directory, "telemetry.jsonl"), to: join(directory, "batches.jsonl"), job: "j", nodeKey })
const write = (text: string) => appendFileSync(join(directory, "telemetry.jsonl"), text)
const batches = (): Array<SignedBatch> => readFileSync(join(directory, "batches.jsonl"), "utf8").trim().split("\n").map((text) => JSON.parse(text))

const verify = (all: ReadonlyArray<SignedBatch>) => {
  let head: { sequence: number; digest: string } | null = null
  for (const batch of all) {
    const fault = verifyBatch(batch, head)
    if (fault !== undefined) return fault.reason
    head = { sequence: batch.sequence, digest: batch.digest }
  }
  return "holds"
}

describe("signed telemetry", () => {
  it("is a chain that verifies, of this node, with every complete line once", () => {
    const telemetry = tail()
    expect(telemetry.flush()).toBeUndefined()
    write(line(1) + line(2).slice(0, 20))
    telemetry.flush()
    telemetry.flush()
    write(line(2).slice(20))
    telemetry.flush()
    write(Array.from({ length: 1200 }, (_, i) => line(3 + i)).join(""))
    telemetry.flush()
    const all = batches()
    expect(all.flatMap((batch) => batch.samples.map((sample) => sample.step))).toEqual(Array.from({ length: 1202 }, (_, i) => i + 1))
    expect(all.every((batch) => batch.node === nodeIdOf(nodeKey) && batch.job === "j" && batch.samples.length <= 500)).toBe(true)
    expect(verify(all)).toBe("holds")
    // planted: the same check sees an altered sample, a missing batch and a foreign signature
    const first = all[0]!
    expect(verify([{ ...first, samples: [{ ...first.samples[0]!, workMilliseconds: 99 }] }])).toBe("digest")
    expect(verify([first, ...all.slice(2)])).toBe("gap")
    expect(verify([{ ...first, signature: all[1]!.signature }])).toBe("signature")
  })

  it("passes known fields in their types only", () => {
    expect(sampleOf(line(1, { rows: ["secret"], text: "a row of data!\u0007", tokens: 1.5, evalLoss: "x" }))).toEqual({ at: 1001, rank: 0, kind: "step", step: 1, loss: 1 / 3 })
    expect(sampleOf(line(1, { text: "checkpoints/step-10" }))).toMatchObject({ text: "checkpoints/step-10" })
    expect(sampleOf("{}")).toBeUndefined()
    expect(sampleOf(`{"kind":"step","at":1,"rank":0}`)).toBeUndefined()
    expect(sampleOf("null")).toBeUndefined()
  })

  it("counts what is no sample, and goes on; an endless line does not fill the memory", () => {
    const telemetry = tail()
    write(`not json\n${"x".repeat(100_000)}\n${line(1)}`)
    telemetry.flush()
    expect(telemetry.refused).toBe(2)
    expect(batches().flatMap((batch) => batch.samples)).toHaveLength(1)
  })
})
