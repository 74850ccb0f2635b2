import type { TrainedCheckpoint } from "@hypernode/engine/stage/values"
import { describe, expect, it } from "vitest"
import { chooseCheckpoint } from "../../src/safetensors/choose.ts"
import { indexFault } from "../../src/safetensors/weightIndex.ts"

const at = (step: number, loss: number, evalLoss?: number): TrainedCheckpoint => ({ step, epoch: 1, loss, ...(evalLoss !== undefined && { evalLoss }), tree: {} as TrainedCheckpoint["tree"] })

describe("chooseCheckpoint", () => {
  it.each<[string, ReadonlyArray<TrainedCheckpoint>, "best" | "last", number | undefined]>([
    ["the lowest evaluation loss", [at(1, 1, 3), at(2, 2, 1), at(3, 0.1, 2)], "best", 2],
    ["the lowest training loss where nothing was evaluated", [at(1, 3), at(2, 1), at(3, 2)], "best", 2],
    ["among the evaluated ones only", [at(1, 0.1), at(2, 5, 4)], "best", 2],
    ["the later of equals", [at(2, 1), at(1, 1)], "best", 2],
    ["a number before none", [at(1, Number.NaN), at(2, 9)], "best", 2],
    ["the last, whatever its loss", [at(3, 9), at(1, 1), at(2, 2)], "last", 3],
    ["the latest where no loss is a number", [at(1, Number.NaN), at(2, Number.NaN)], "best", 2],
    ["nothing of nothing", [], "best", undefined]
  ])("takes %s", (_name, checkpoints, how, step) => {
    expect(chooseCheckpoint(checkpoints, how)?.step).toBe(step)
    expect(chooseCheckpoint(checkpoints.toReversed(), how)?.step).toBe(step)
  })
})

describe("indexFault", () => {
  const tensor = (name: string) => ({ name, dtype: "F32", shape: [1], begin: 0, end: 4 })
  const weights = new Map([["a.safetensors", [tensor("x")]], ["b.safetensors", [tensor("y")]]])
  const index = (map: unknown) => JSON.stringify({ metadata: {}, weight_map: map })
  it("agrees with a true index, and with none", () => {
    expect(indexFault(weights, index({ x: "a.safetensors", y: "b.safetensors" }))).toBeUndefined()
    expect(indexFault(weights, undefined)).toBeUndefined()
  })
  it.each<[string, string, RegExp]>([
    ["a tensor in the wrong file", index({ x: "b.safetensors", y: "b.safetensors" }), /puts tensor "x"/],
    ["a tensor that is nowhere", index({ x: "a.safetensors", y: "b.safetensors", z: "a.safetensors" }), /"z"/],
    ["a tensor left out", index({ x: "a.safetensors" }), /names 1 tensors, the files hold 2/],
    ["no map", "{}", /no weight_map/],
    ["no JSON", "{", /not JSON/],
    ["a key twice", `{"weight_map":{"x":"b.safetensors","x":"a.safetensors","y":"b.safetensors"}}`, /"x" twice/]
  ])("names %s", (_name, text, message) => {
    expect(indexFault(weights, text)).toMatch(message)
  })
  it("names a tensor in two files", () => {
    expect(indexFault(new Map([["a", [tensor("x")]], ["b", [tensor("x")]]]), undefined)).toMatch(/is in a and in b/)
  })
})
