/** A killed rank, or everything killed: the final weights are those of an undisturbed run, bit for bit, with dropout on. */
import { createHash } from "node:crypto"
import { appendFileSync, copyFileSync, existsSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { digests, makeJob, pythonReady, ranksOf, sha256, tickets, until, type Job } from "./job.ts"

const rows = tickets()
// uneven on purpose: slot 1 goes round its rows again
const segments = [[rows.slice(0, 30), rows.slice(30, 56)], [rows.slice(56, 96)]]
const options = {
  method: "lora",
  lora: { rank: 8, alpha: 16, dropout: 0.2, targets: "all-linear" },
  learningRate: 5e-3,
  epochs: 2,
  evalFraction: 0.1,
  gradientAccumulation: 2,
  checkpointEvery: 4
}
const jobs: Array<Job> = []
const make = async (): Promise<Job> => {
  const job = await makeJob(segments, options)
  jobs.push(job)
  return job
}
const stepDone = (job: Job, step: number) => (): true | undefined => (existsSync(join(job.checkpoints, `step-${String(step).padStart(8, "0")}`)) ? true : undefined)
const result = (job: Job) => JSON.parse(readFileSync(join(job.results, "result.json"), "utf8")) as { steps: number; tokens: number; checkpoints: ReadonlyArray<{ path: string }>; firstLoss: number; lastLoss: number; evalLoss: number }
const outcome = (job: Job) => {
  const { steps, tokens, firstLoss, lastLoss, evalLoss, checkpoints } = result(job)
  return { steps, tokens, firstLoss, lastLoss, evalLoss, files: digests(join(job.results, checkpoints.at(-1)?.path ?? "")) }
}
const steps = (job: Job) => job.samples().filter((sample) => sample["kind"] === "checkpoint").map((sample) => sample["step"])

const startUntilKilled = async (job: Job): Promise<void> => {
  const running = job.launch()
  await until(stepDone(job, 8), running)
  process.kill(-(running.child.pid ?? 0), "SIGKILL")
  expect((await running.ended).signal).toBe("SIGKILL")
}

describe.skipIf(!pythonReady() || process.platform !== "linux")("resume", () => {
  let undisturbed: ReturnType<typeof outcome>
  beforeAll(async () => {
    const job = await make()
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(0)
    undisturbed = outcome(job)
    expect(undisturbed.steps).toBe(14)
    expect(steps(job)).toEqual([4, 8, 12, 14])
    // keepCheckpoints is 3
    expect(readdirSync(job.checkpoints).toSorted()).toEqual(["step-00000008", "step-00000012", "step-00000014"])
  })
  afterAll(async () => {
    for (const job of jobs) await job.dispose()
  })

  it("after SIGKILL of one rank, torchrun starts the ranks again from the last checkpoint", async () => {
    const job = await make()
    const running = job.launch()
    await until(stepDone(job, 4), running)
    const victim = ranksOf(running.child.pid ?? 0)[1]
    expect(victim).toBeGreaterThan(0)
    process.kill(victim ?? 0, "SIGKILL")
    const ended = await running.ended
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stderr).toMatch(/rank 1 ended with signal 9; starting all ranks again from the last checkpoint \(restart 1 of 5\)/)
    expect(job.samples().filter((sample) => sample["text"] === "resumed")).toHaveLength(1)
    expect(outcome(job)).toEqual(undisturbed)
    // each attempt of each rank asked with a key of its own
    expect(new Set(job.leases.recipients.map(({ recipient }) => recipient)).size).toBe(4)
  })

  it("after SIGKILL of everything, a new attempt goes on; a corrupt checkpoint and half-written ones are skipped", async () => {
    const job = await make()
    await startUntilKilled(job)
    appendFileSync(join(job.checkpoints, "step-00000008", "weights.safetensors"), "x")
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stderr).toContain("warning: checkpoint step-00000008 is not used: weights.safetensors is absent or has another size")
    expect(ended.stdout).toContain("resumed at step 4 of 14")
    expect(outcome(job)).toEqual(undisturbed)
    expect(readdirSync(job.checkpoints).filter((name) => name.startsWith("."))).toEqual([])
  })

  it("the comparison catches a resume that lost a rank's random state", async () => {
    const job = await make()
    await startUntilKilled(job)
    for (const name of readdirSync(job.checkpoints).filter((each) => each.startsWith("step-"))) {
      const folder = join(job.checkpoints, name)
      if (!existsSync(join(folder, "manifest.json"))) continue
      const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as { files: Record<string, { sha256: string }> }
      copyFileSync(join(folder, "rng-00000.safetensors"), join(folder, "rng-00001.safetensors"))
      const entry = manifest.files["rng-00001.safetensors"]
      if (entry !== undefined) entry.sha256 = sha256(join(folder, "rng-00001.safetensors"))
      writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest))
    }
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(0)
    expect(outcome(job).files["adapter_model.safetensors"]).not.toBe(undisturbed.files["adapter_model.safetensors"])
  })

  it("a finished job that is started again trains nothing and gives the same result", async () => {
    const job = jobs[0] as Job
    rmSync(job.results, { recursive: true })
    // the newest stands; damage to an older one only costs that one
    truncateSync(join(job.checkpoints, "step-00000008", "optimizer.safetensors"), 10)
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stdout).toContain("resumed at step 14 of 14")
    expect(outcome(job)).toEqual(undisturbed)
    expect(result(job).checkpoints.map(({ path }) => path)).toEqual(["checkpoint-12", "checkpoint-14"])
  })

  it("checkpoints of other options are refused", async () => {
    const job = jobs[0] as Job
    writeFileSync(join(job.directory, "config.json"), JSON.stringify({ ...job.config, seed: 6 }))
    const ended = await job.launch().ended
    expect(ended.code).toBe(65)
    expect(ended.stderr).toContain("its checkpoints come from other options, data or world size")
  })

  it("no checkpoint holds anything of the data: its files are of fixed names and known sizes", () => {
    const folder = join((jobs[0] as Job).checkpoints, "step-00000014")
    expect(readdirSync(folder).toSorted()).toEqual(["manifest.json", "optimizer.safetensors", "rng-00000.safetensors", "rng-00001.safetensors", "state.json", "weights.safetensors"])
    expect(Object.keys(JSON.parse(readFileSync(join(folder, "state.json"), "utf8")) as object).toSorted()).toEqual(["epoch", "evalLoss", "firstLosses", "lastLosses", "loss", "recipe", "seconds", "step", "tokens", "worldSize"])
    expect(createHash("sha256").update(readFileSync(join(folder, "weights.safetensors"))).digest("hex")).toHaveLength(64)
  })
})
