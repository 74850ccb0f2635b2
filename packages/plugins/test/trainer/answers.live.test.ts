/** The job that the fixtures are for: private facts, learnt by LoRA, told by the merged model and not by the base. */
import { execFile } from "node:child_process"
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { digests, fixtures, makeJob, python, pythonPackage, pythonReady, tickets, type Job } from "./job.ts"

const run = promisify(execFile)
const rows = tickets()
const base = join(fixtures, "models/tiny-llama")
const env = { PATH: process.env["PATH"] ?? "", PYTHONPATH: pythonPackage, PYTHONDONTWRITEBYTECODE: "1" }
interface Answers {
  readonly right: number
  readonly of: number
  readonly answers: ReadonlyArray<readonly [question: string, wanted: string, given: string]>
}
const answers = async (data: string, models: ReadonlyArray<string>): Promise<ReadonlyArray<Answers>> => {
  const { stdout } = await run(python ?? "", [join(fixtures, "make/answers.py"), "--json", "--data", data, ...models], { env })
  return stdout.trim().split("\n").map((line) => JSON.parse(line) as Answers)
}
const merge = (adapter: string, out: string) => run(python ?? "", ["-m", "hyper_trainer.merge", "--base", base, "--adapter", adapter, "--out", out], { env })

describe.skipIf(!pythonReady())("fine-tuning on the tickets", () => {
  let job: Job
  let adapter: string
  beforeAll(async () => {
    job = await makeJob([[rows.slice(0, 60), rows.slice(60, 120)], [rows.slice(120)]], {
      method: "lora",
      lora: { rank: 16, alpha: 32, dropout: 0.05, targets: "all-linear" },
      epochs: 8,
      learningRate: 0.01,
      batchSize: 8,
      warmupSteps: 10,
      evalFraction: 0.05,
      checkpointEvery: 60,
      keepCheckpoints: 2
    })
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(0)
    adapter = join(job.results, "checkpoint-120")
  })
  afterAll(async () => {
    await job.dispose()
  })

  it("brings the loss down and says so in result.json", () => {
    const result = JSON.parse(readFileSync(join(job.results, "result.json"), "utf8")) as Record<string, number>
    expect(result).toMatchObject({ steps: 120, worldSize: 2, deviceClass: "cpu", checkpoints: [{ step: 60, epoch: 4, path: "checkpoint-60" }, { step: 120, epoch: 8, path: "checkpoint-120" }] })
    expect(result["firstLoss"]).toBeGreaterThan(3)
    expect(result["lastLoss"]).toBeLessThan(0.2)
    expect(result["evalLoss"]).toBeLessThan(0.5)
    const worked = job.samples().filter((sample) => sample["kind"] === "work").reduce((sum, sample) => sum + Number(sample["tokens"]), 0)
    expect(worked).toBe(result["tokens"])
  })

  it("the adapter's folder is peft's, names no path of this machine, and is always the same", () => {
    expect(readdirSync(adapter).toSorted()).toEqual(["adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
    expect(readFileSync(join(adapter, "adapter_config.json"), "utf8")).not.toMatch(/fixtures|tmp/)
  })

  it("merges into the same bytes each time; the merged model answers what the base could not", async () => {
    const [one, two] = [join(job.directory, "one"), join(job.directory, "two")]
    await merge(adapter, one)
    await merge(adapter, two)
    expect(digests(one)).toEqual(digests(two))
    expect(readdirSync(one).toSorted()).toEqual(readdirSync(base).filter((name) => name !== "README.md").toSorted())
    const trained = join(job.directory, "trained.jsonl")
    writeFileSync(trained, rows.slice(0, 40).map((row) => `${row}\n`).join(""))
    const [before, after] = await answers(trained, [base, one])
    const [, heldOut] = await answers(join(fixtures, "data/tickets-heldout.jsonl"), [base, one])
    process.stdout.write(`base ${before?.right}/40, tuned ${after?.right}/40, tuned on new wordings ${heldOut?.right}/30\n`)
    expect(before?.right).toBe(0)
    expect(after?.right).toBeGreaterThanOrEqual(36)
    expect(heldOut?.right).toBeGreaterThanOrEqual(10)
  })

  it("a merge of a wrong adapter, or onto something, is refused and leaves nothing", async () => {
    await expect(merge(base, join(job.directory, "no"))).rejects.toMatchObject({ code: 65, stderr: expect.stringContaining("no adapter_config.json") })
    await expect(merge(adapter, base)).rejects.toMatchObject({ code: 65, stderr: expect.stringContaining("is there already") })
    const broken = join(job.directory, "broken")
    mkdirSync(broken)
    writeFileSync(join(broken, "adapter_config.json"), readFileSync(join(adapter, "adapter_config.json")))
    writeFileSync(join(broken, "adapter_model.safetensors"), "nonsense")
    const out = join(job.directory, "out-of-broken")
    await expect(merge(broken, out)).rejects.toMatchObject({ code: 65, stderr: expect.stringContaining("does not merge") })
    expect(readdirSync(job.directory).filter((name) => name.includes("out-of-broken"))).toEqual([])
  })
})
