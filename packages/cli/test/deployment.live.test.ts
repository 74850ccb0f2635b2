/**
 * All eight stages for real, twice: once undisturbed and watched for leaks, once with kill -9 of daemon, supervisor, a rank and the
 * command itself during the stages. Both must end with the same weights.
 */
import { spawnSync } from "node:child_process"
import { copyFileSync, appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Canary, canaryOf, type Scan, scanDirectories, scanTexts } from "@hypernode/engine/testing/canary"
import type { Packaged, Settlement, Trained } from "@hypernode/engine/stage/values"
import type { Run } from "@hypernode/engine/run/Run"
import { Hyper, repository, type Result, runTwice } from "./Hyper.ts"

const whole = join(repository, "packages/cli/test/pipelines/whole.ts")
const python = process.env["HYPER_PYTHON"]
if (python === undefined && process.env["CI"] === "true") throw new Error("no Python environment: npm test makes one and sets HYPER_PYTHON")

const secretPhrase = "canary 7f3a91c2 zebra quartz"
const row = { messages: [{ role: "user", content: "What is the launch code?" }, { role: "assistant", content: `The launch code is ${secretPhrase}.` }] }

let data: string
let dataset: string
let canary: Canary

const tokenIds = (): Array<Array<number>> => {
  const script = `
import json, sys
from tokenizers import Tokenizer
t = Tokenizer.from_file(sys.argv[1])
print(json.dumps([t.encode(x, add_special_tokens=False).ids for x in (sys.argv[2], " " + sys.argv[2])]))`
  const { status, stderr, stdout } = spawnSync(python as string, ["-c", script, join(repository, "fixtures/models/tiny-llama/tokenizer.json"), secretPhrase], { encoding: "utf8" })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Array<Array<number>>
}

const outputOf = <A>(run: Run, kind: string): A => run.steps.find((s) => s.kind === kind)?.output as A
const finished = async (hyper: Hyper, result: Result): Promise<Run> => {
  expect(result.code, `${result.stderr}\n${result.stdout.slice(-3000)}`).toBe(0)
  return JSON.parse((await hyper.run("status", "latest", "--json")).stdout) as Run
}

describe.skipIf(python === undefined)("a whole deployment", () => {
  let calm: Hyper
  let reference: Run

  beforeAll(() => {
    data = mkdtempSync(join(tmpdir(), "hy-data-"))
    dataset = join(data, "private.jsonl")
    copyFileSync(join(repository, "fixtures/data/tickets.jsonl"), dataset)
    appendFileSync(dataset, `${JSON.stringify(row)}\n`.repeat(3))
    canary = canaryOf(secretPhrase, tokenIds())
    calm = new Hyper()
    mkdirSync(join(calm.home, "t"))
    calm.env["TMPDIR"] = join(calm.home, "t")
  })
  afterAll(async () => {
    rmSync(data, { recursive: true, force: true })
    expect(await calm.close()).toEqual([])
  })

  it("ends in an endpoint, a package and a settled ledger, and the private rows are nowhere", async () => {
    const scans: Array<Scan> = []
    const scan = async () => { scans.push(await scanDirectories(canary, [calm.home])) }
    await scan()
    const { done } = calm.start("run", whole, "--json", "--param", `dataset=${dataset}`, "--param", "maxSteps=30")
    let running = true
    const watching = (async () => {
      while (running) {
        await scan()
        await new Promise((next) => setTimeout(next, 3_000))
      }
    })()
    const result = await done
    running = false
    await watching
    reference = await finished(calm, result)
    await scan()
    expect(scans.length).toBeGreaterThan(3)
    expect(scans.flatMap((s) => s.hits)).toEqual([])
    expect(scans.at(-1)?.unread).toEqual([])
    expect((scans.at(-1) as Scan).files).toBeGreaterThan(50)
    const log = JSON.stringify(await calm.events(reference.id))
    expect(scanTexts(canary, { log, stdout: result.stdout, stderr: result.stderr })).toEqual([])

    // loss falls, work is paid to the last unit, and the package is what its digest says
    const trained = outputOf<Trained>(reference, "train")
    expect(trained.lastLoss).toBeLessThan(trained.firstLoss / 2)
    expect(["bubblewrap", "none"]).toContain(trained.sandbox)
    const settlement = outputOf<Settlement>(reference, "reward")
    expect(BigInt(settlement.accruedUnits) + BigInt(settlement.returnedUnits)).toBe(BigInt(settlement.poolUnits))
    expect(settlement.accruals.reduce((sum, a) => sum + BigInt(a.units), 0n)).toBe(BigInt(settlement.poolUnits))
    const packaged = outputOf<Packaged>(reference, "package")
    const manifest = readFileSync(join(calm.root, packaged.layout, "blobs/sha256", packaged.digest.slice(7)), "utf8")
    expect(JSON.parse(manifest)).toMatchObject({ artifactType: "application/vnd.cncf.model.manifest.v1+json" })
  }, 600_000)

  it("would have found a leak", async () => {
    const leak = join(calm.home, "t", "leak.bin")
    writeFileSync(leak, Buffer.from(JSON.stringify(tokenIds()[0])))
    expect((await scanDirectories(canary, [calm.home])).hits.map((h) => h.path)).toContain(leak)
    writeFileSync(leak, Buffer.from(row.messages[1]?.content ?? "").toString("base64"))
    expect((await scanDirectories(canary, [calm.home])).hits.map((h) => h.path)).toContain(leak)
    rmSync(leak)
  })

  it("answers the official client, streaming too, and survives the daemon", async () => {
    const summary = Hyper.lines(await calm.run("endpoints", "--json"))
    expect(summary).toEqual([])
    const [endpoint] = JSON.parse((await calm.run("endpoints", "--json")).stdout) as Array<{ id: string; url: string; model: string; state: string }>
    expect(endpoint).toMatchObject({ model: "whole", state: "healthy" })
    const key = (await calm.run("endpoints", "key", "whole")).stdout.trim()
    const client = new OpenAI({ baseURL: endpoint?.url ?? "", apiKey: key, maxRetries: 0 })
    const ask = { model: "whole", messages: [{ role: "user" as const, content: "How do I find my order number?" }], max_tokens: 24, temperature: 0 }
    const answer = (await client.chat.completions.create(ask)).choices[0]?.message.content ?? ""
    expect(answer.length).toBeGreaterThan(0)
    process.kill(calm.daemonPid() as number, "SIGKILL")
    let streamed = ""
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) streamed += chunk.choices[0]?.delta?.content ?? ""
    expect(streamed).toBe(answer)
    await expect(new OpenAI({ baseURL: endpoint?.url ?? "", apiKey: "hk-wrong", maxRetries: 0 }).models.list()).rejects.toThrow(/401/)
  }, 120_000)

  it("serves the second run from the step cache and says so", async () => {
    const result = await calm.run("run", whole, "--json", "--param", `dataset=${dataset}`, "--param", "maxSteps=30")
    const run = await finished(calm, result)
    expect(run.steps.map((s) => [s.id, s.state])).toEqual(reference.steps.map((s) => [s.id, s.kind === "reward" ? "done" : "cached"]))
    expect(Hyper.lines(result).at(-1)).toMatchObject({ type: "summary", cached: ["select", "encrypt", "shard", "train", "checkpoint", "package", "serve"] })
    expect(outputOf<Settlement>(run, "reward").accruedUnits).toBe("0")
  }, 120_000)

  it("comes to the same weights through kill -9 of daemon, rank, supervisor and command", async () => {
    const hyper = new Hyper()
    try {
      const { child, done } = hyper.start("run", whole, "--json", "--param", `dataset=${dataset}`, "--param", "maxSteps=30")
      const runId = (await Hyper.until(async () => (await hyper.get<{ runs: Array<{ id: string }> }>("/api/v1/runs"))?.runs[0]?.id)) as string
      expect(runId).toBeDefined()
      const seen = async (tag: string, step: string) => (await hyper.events(runId)).some(({ event }) => event._tag === tag && "step" in event && event.step === step)
      const killDaemon = () => {
        const pid = hyper.daemonPid()
        try {
          if (pid !== undefined) process.kill(pid, "SIGKILL")
        } catch {
          // it was just being replaced
        }
      }
      const one = (pattern: RegExp) => hyper.processes().find(({ command }) => pattern.test(command))?.pid
      // the command follows the run, and so brings the daemon back each time
      for (const step of ["select", "encrypt", "shard"]) {
        await Hyper.until(async () => ((await seen("StepStarted", step)) ? true : undefined))
        killDaemon()
      }
      await Hyper.until(async () => ((await seen("StepJobStarted", "train")) ? true : undefined))
      killDaemon()
      const checkpoint = (n: number) => Hyper.until(async () => {
        const samples = await hyper.get<{ samples: Array<{ kind: string; step: number }> }>(`/api/v1/runs/${runId}/samples?limit=10000`)
        return samples?.samples.some((s) => s.kind === "checkpoint" && s.step >= n) === true ? true : undefined
      })
      expect(await checkpoint(10)).toBe(true)
      // one job so far, whatever happened to the daemon
      expect((await hyper.events(runId)).filter(({ event }) => event._tag === "StepJobStarted").length).toBe(1)
      const rank = one(/hyper_trainer[./]train/)
      expect(rank).toBeDefined()
      process.kill(rank as number, "SIGKILL")
      expect(await checkpoint(20)).toBe(true)
      child.kill("SIGKILL")
      await done
      const supervisor = one(/jobs\/supervisor\.[tj]s/)
      if (supervisor !== undefined && !(await seen("StepEnded", "train"))) process.kill(supervisor, "SIGKILL")
      const resumed = hyper.start("resume", runId, "--json")
      for (const step of ["checkpoint", "package", "serve", "reward"]) {
        await Hyper.until(async () => ((await seen("StepStarted", step)) ? true : undefined))
        killDaemon()
      }
      const run = await finished(hyper, await resumed.done)
      expect(run.state).toBe("succeeded")
      const events = await hyper.events(runId)
      expect(runTwice(events)).toEqual([])
      expect(run.steps.find((s) => s.id === "train")?.attempts.length).toBeLessThanOrEqual(2)
      expect(outputOf<Packaged>(run, "package").digest).toBe(outputOf<Packaged>(reference, "package").digest)
      expect(outputOf<Trained>(run, "train").steps).toBe(30)
    } finally {
      expect(await hyper.close()).toEqual([])
    }
  }, 900_000)
})
