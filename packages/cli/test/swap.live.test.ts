/**
 * "Swappable" as a fact: one pipeline, each stage in turn given to another plugin of its kind, run for real to a settled ledger. Most of
 * the others are files beside the pipeline, written as somebody outside this repository would.
 */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Containers } from "@hypernode/engine/capability/Containers"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import type { Run } from "@hypernode/engine/run/Run"
import type { Sealed, Settlement, Trained } from "@hypernode/engine/stage/values"
import { sandboxImage } from "@hypernode/engine/sandbox/containerSpec"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Hub, startHub } from "../../plugins/test/hf-hub/hub.ts"
import { noOllama, type RealOllama, realOllama } from "../../plugins/test/ollama/realOllama.ts"
import { fair } from "../../plugins/test/solana/RpcServer.ts"
import { makeWorld, type World } from "../../plugins/test/solana/world.ts"
import { Hyper, repository } from "./Hyper.ts"

const BASE = "hyper-swap-base:1"
const pipeline = join(repository, "pipelines/swap/pipeline.ts")
const model = join(repository, "fixtures/models/tiny-llama")
const ci = process.env["CI"] === "true"
const python = process.env["HYPER_PYTHON"]
if (python === undefined && ci) throw new Error("no Python environment: npm test makes one and sets HYPER_PYTHON")
const hasAge = spawnSync("age", ["--version"]).status === 0
if (!hasAge && ci) throw new Error("no age: apt-get install age")

const noEngine = noDockerd()
const noServer = noOllama()

/** Plugins by stage, as nothing swapped. */
const usual = { select: "local", encrypt: "age", shard: "balanced", train: "torchrun", checkpoint: "safetensors", package: "oci", serve: "transformers", reward: "ledger" } as const
const others: Partial<Record<keyof typeof usual, string>> = {
  select: "hf-hub",
  ...(hasAge ? { encrypt: "age-command" } : {}),
  shard: "round-robin",
  train: "thrifty",
  checkpoint: "newest",
  ...(noEngine === undefined ? { package: "oci-image" } : {}),
  ...(noServer === undefined ? { serve: "ollama" } : {}),
  reward: "solana"
}

describe.skipIf(python === undefined)("every stage by another plugin", () => {
  let hyper: Hyper
  let hub: Hub
  let engine: TestEngine | undefined
  let ollama: RealOllama | undefined
  let chain: World
  beforeAll(async () => {
    if (noEngine === undefined) {
      engine = await startEngine()
      process.env["DOCKER_HOST"] = engine.url
      const { context, dockerfile } = sandboxImage()
      await Effect.runPromise(Effect.provide(Containers.use((containers) => containers.build({ reference: BASE, dockerfile: `${dockerfile}ENV PATH=/usr/bin:/bin\n`, context, labels: {} })), containersLayer))
    }
    if (noServer === undefined) ollama = await realOllama()
    chain = await makeWorld("swap")
    chain.server.weather = () => fair
    hyper = new Hyper(engine === undefined ? {} : { DOCKER_HOST: engine.url })
    mkdirSync(hyper.root, { mode: 0o700 })
    for (const file of ["solana.json", "payer.json"]) cpSync(join(chain.home, file), join(hyper.root, file))
    hub = await startHub([{ type: "model", id: "hyper/tiny-llama", files: Object.fromEntries(readdirSync(model).map((name) => [name, readFileSync(join(model, name))])) }])
  }, 1_200_000)
  afterAll(async () => {
    await hub?.close()
    expect(await hyper?.close()).toEqual([])
    await ollama?.close()
    await chain?.stop()
    await engine?.stop()
  })

  const runWith = async (...swapped: ReadonlyArray<string>): Promise<Run> => {
    const result = await hyper.run("run", pipeline, "--json", "--param", `swap=${swapped.join(",")}`, "--param", `hub=${hub.url}`, "--param", `base=${BASE}`, ...(ollama === undefined ? [] : ["--param", `ollama=${ollama.host}`]))
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
