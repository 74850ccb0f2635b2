/**
 * "Swappable" as a fact: one pipeline, each stage in turn given to another plugin of its kind, run for real to a settled ledger. Most of
 * the others are files beside the pipeline, written as somebody outside this repository would.
 */
import { readdirSync, readFileSync } from "node:fs"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import type { Run } from "@hypernode/engine/run/Run"
import type { Sealed, Settlement, Trained } from "@hypernode/engine/stage/values"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Hub, startHub } from "../../plugins/test/hf-hub/hub.ts"
import { Hyper, repository } from "./Hyper.ts"

const pipeline = join(repository, "pipelines/swap/pipeline.ts")
const model = join(repository, "fixtures/models/tiny-llama")
const ci = process.env["CI"] === "true"
const python = process.env["HYPER_PYTHON"]
if (python === undefined && ci) throw new Error("no Python environment: npm test makes one and sets HYPER_PYTHON")
const hasAge = spawnSync("age", ["--version"]).status === 0
if (!hasAge && ci) throw new Error("no age: apt-get install age")

/** Plugins by step, as nothing swapped. */
const usual = { select: "local", encrypt: "age", shard: "balanced", train: "torchrun", checkpoint: "safetensors", package: "oci", serve: "transformers", reward: "ledger" } as const
const others: Partial<Record<keyof typeof usual, string>> = { select: "hf-hub", ...(hasAge ? { encrypt: "age-command" } : {}), shard: "round-robin", train: "thrifty", checkpoint: "newest" }

describe.skipIf(python === undefined)("every stage by another plugin", () => {
  let hyper: Hyper
  let hub: Hub
  beforeAll(async () => {
    hyper = new Hyper()
    hub = await startHub([{ type: "model", id: "hyper/tiny-llama", files: Object.fromEntries(readdirSync(model).map((name) => [name, readFileSync(join(model, name))])) }])
  })
  afterAll(async () => {
    await hub.close()
    expect(await hyper.close()).toEqual([])
  })

  const runWith = async (...swapped: ReadonlyArray<string>): Promise<Run> => {
    const result = await hyper.run("run", pipeline, "--json", "--param", `swap=${swapped.join(",")}`, "--param", `hub=${hub.url}`)
    expect(result.code, `${result.stderr}\n${result.stdout.slice(-2000)}`).toBe(0)
    return JSON.parse((await hyper.run("status", "latest", "--json")).stdout) as Run
  }
  const pluginsOf = (run: Run) => Object.fromEntries(run.steps.map((step) => [step.kind, step.plugin]))
  const outputOf = <A>(run: Run, kind: string): A => run.steps.find((step) => step.kind === kind)?.output as A

  it("runs as it is", async () => {
    expect(pluginsOf(await runWith())).toEqual(usual)
  }, 240_000)

  it.each(Object.entries(others))("%s by %s", async (kind, plugin) => {
    const run = await runWith(kind)
    expect(pluginsOf(run)).toEqual({ ...usual, [kind]: plugin })
    expect(run.steps.map((step) => step.state)).not.toContain("failed")
    // what is upstream of the swapped stage came from the cache, the stage itself did not
    const at = run.steps.findIndex((step) => step.kind === kind)
    expect(run.steps.slice(0, at).every((step) => step.state === "cached")).toBe(true)
    expect(run.steps[at]?.state).toBe("done")
  }, 240_000)

  it("all of them together", async () => {
    const run = await runWith(...Object.keys(others))
    expect(pluginsOf(run)).toEqual({ ...usual, ...others })
    expect(outputOf<Trained>(run, "train").steps).toBe(2)
    if (hasAge) expect(outputOf<Sealed>(run, "encrypt").segments).toHaveLength(12)
    expect(outputOf<Settlement>(run, "reward").poolUnits).not.toBe("0")
  }, 240_000)
})
