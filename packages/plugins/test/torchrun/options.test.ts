/** Options: defaults filled in, every refusal names the option and its range; the factory loads no effect. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { torchrun } from "../../src/torchrun/index.ts"
import { Options } from "../../src/torchrun/Options.ts"
import { trainerConfig, trainingPaths } from "../../src/torchrun/TrainerConfig.ts"
import type { Shards } from "@hypernode/engine/stage/values"

const decode = (options: unknown) => Effect.runSync(Effect.result(Schema.decodeUnknownEffect(Options)(options)))
const refusal = (options: unknown): string => {
  const result = decode(options)
  return result._tag === "Failure" ? String(result.failure) : "accepted"
}
const accepted = (options: unknown) => {
  const result = decode(options)
  if (result._tag === "Failure") throw new Error(String(result.failure))
  return result.success
}

/** How many of effect's files importing `file` loads. */
const loaded = (file: string) =>
  execFileSync(process.execPath, ["--input-type=module", "-e", `import { registerHooks } from "node:module"; const seen = []; registerHooks({ load(url, context, next) { seen.push(url); return next(url, context) } }); await import(${JSON.stringify(join(import.meta.dirname, "../../src/torchrun", file))}); console.log(seen.filter((url) => url.includes("/node_modules/effect/")).length)`], { encoding: "utf8" }).trim()

describe("options", () => {
  it("have defaults, written into the plan", () => {
    expect(accepted({})).toEqual({
      method: "lora", epochs: 1, batchSize: 8, gradientAccumulation: 1, sequenceLength: 512, warmupSteps: 0, schedule: "linear", weightDecay: 0, gradClip: 1, seed: 0,
      evalFraction: 0, checkpointEvery: 100, keepCheckpoints: 3, sandbox: "required", device: "auto"
    })
    expect(accepted({ lora: { rank: 4 } }).lora).toEqual({ rank: 4, alpha: 16, dropout: 0, targets: "all-linear" })
  })

  const wrong: ReadonlyArray<readonly [unknown, string]> = [
    [{ lora: { rank: 257 } }, "lora.rank is a whole number from 1 to 256"],
    [{ lora: { rank: 1.5 } }, "lora.rank is a whole number from 1 to 256"],
    [{ epochs: 0 }, "epochs is a number above 0, at most 10000"],
    [{ lr: -1 }, "lr is a number above 0, at most 10"],
    [{ lr: Number.NaN }, "lr is a number above 0, at most 10"],
    [{ batchSize: 0 }, "batchSize is a whole number from 1 to 65,536"],
    [{ evalFraction: 0.6 }, "evalFraction is a number from 0 to 0.5"],
    [{ method: "full", lora: { rank: 4 } }, "lora has no effect"],
    [{ lora: { targets: ["../x"] } }, "lora.targets are names of modules"],
    [{ sandbox: "maybe" }, `"required"`],
    [{ method: "qlora" }, `"lora"`]
  ]
  for (const [options, message] of wrong) it(`${JSON.stringify(options)}: ${message}`, () => expect(refusal(options)).toContain(message))

  it("become the trainer's own configuration", () => {
    const shards = { sealed: { format: "chat", segments: [{ index: 3, rows: 7 }] }, slots: [{ slot: 0, segments: [3] }] } as unknown as Shards
    const paths = trainingPaths("/j", "/s")
    expect(trainerConfig(accepted({}), shards, paths, "/l/s")).toMatchObject({
      learningRate: 2e-4, lora: { rank: 8, targets: "all-linear" }, worldSize: 1, format: "chat", slots: [{ slot: 0, segments: [{ index: 3, rows: 7, path: "/s/segments/3.age" }] }],
      checkpointDirectory: "/s/checkpoints", resultDirectory: "/j/result", leaseSocket: "/l/s"
    })
    const full = trainerConfig(accepted({ method: "full" }), shards, paths, "/l/s")
    expect(full).toMatchObject({ learningRate: 2e-5 })
    expect(full).not.toHaveProperty("lora")
  })

  it("the factory is plain data and loads no effect", () => {
    expect(torchrun({ method: "full", lr: 1e-4 })).toEqual({ kind: "train", plugin: { id: "torchrun", specifier: "@hypernode/plugins/torchrun" }, options: { method: "full", lr: 1e-4 } })
    expect(loaded("index.ts")).toBe("0")
    expect(Number(loaded("Options.ts"))).toBeGreaterThan(0)
  })
})
