/** Wrong input: one line that names the place, status 65, no second try, nothing of a row in it. */
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import { fixtures, lines, makeJob, pythonReady, tickets, type Ended, type Job } from "./job.ts"

const rows = tickets()
const good = [rows.slice(0, 8)]
const bad = (name: string): ReadonlyArray<string> => lines(join(fixtures, "data/bad", name))
const jobs: Array<Job> = []
const make = async (...parameters: Parameters<typeof makeJob>): Promise<Job> => {
  const job = await makeJob(...parameters)
  jobs.push(job)
  return job
}
const refused = (job: Job, ended: Ended, message: string): void => {
  expect(ended.stderr).toContain(`error: ${message}`)
  expect(ended.code).toBe(65)
  expect(ended.stderr).not.toMatch(/Traceback|restart \d of/)
  expect(readdirSync(job.checkpoints)).toEqual([])
}

describe.skipIf(!pythonReady())("the trainer refuses", () => {
  afterEach(async () => {
    for (const job of jobs.splice(0)) await job.dispose()
  })

  it("a malformed row, by segment and row, on whichever rank", async () => {
    const job = await make([good, [rows.slice(8, 12), bad("row-3-wrong-keys.jsonl")]])
    const ended = await job.launch().ended
    refused(job, ended, 'segment 2 row 3: no "messages" and no "prompt"/"completion"')
    expect(ended.stderr).not.toContain("How are you")
  })

  it("a segment whose bytes were changed", async () => {
    const job = await make([good])
    const path = join(job.directory, "segment-0.age")
    const bytes = readFileSync(path)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 20) ^ 1, bytes.length - 20)
    writeFileSync(path, bytes)
    refused(job, await job.launch().ended, "segment 0: its bytes do not open with the leased key")
  })

  it("a lease that does not hold", async () => {
    const job = await make([good])
    job.leases.refuse = "the run is not in its train stage"
    refused(job, await job.launch().ended, "slot 0: the lease was refused: the run is not in its train stage")
  })

  it("a data set with nothing to train on", async () => {
    const job = await make([[]])
    refused(job, await job.launch().ended, "no row to train on")
  })

  it("rows that leave nothing to learn within the sequence length", async () => {
    const job = await make([good], { sequenceLength: 4 })
    refused(job, await job.launch().ended, "slot 0: none of its 8 rows has a token to learn within sequenceLength 4; raise sequenceLength")
  })

  it("a model without a tokenizer, before anything heavy is loaded", async () => {
    const job = await make([good])
    const model = join(job.directory, "model")
    cpSync(join(fixtures, "models/tiny-llama"), model, { recursive: true })
    rmSync(join(model, "tokenizer.json"))
    writeFileSync(join(job.directory, "config.json"), JSON.stringify({ ...job.config, model }))
    refused(job, await job.launch().ended, `${model}: no tokenizer`)
    expect(job.samples()).toEqual([])
  })

  it("a chat data set for a model without a chat template", async () => {
    const job = await make([good])
    const model = join(job.directory, "model")
    cpSync(join(fixtures, "models/tiny-llama"), model, { recursive: true })
    rmSync(join(model, "chat_template.jinja"))
    writeFileSync(join(job.directory, "config.json"), JSON.stringify({ ...job.config, model }))
    refused(job, await job.launch().ended, `${model}: the model has no chat template`)
  })

  it("an unknown option, by name", async () => {
    const job = await make([good], { learningrate: 1 })
    refused(job, await job.launch().ended, `${join(job.directory, "config.json")}: unknown option "learningrate", did you mean "learningRate"?`)
  })

  it("adapter targets that the model does not have", async () => {
    const job = await make([good], { method: "lora", lora: { rank: 2, alpha: 2, dropout: 0, targets: ["no_such_layer"] } })
    refused(job, await job.launch().ended, "lora targets: ")
  })

  it("to go on when the loss stops being a number, and keeps the last good checkpoint", async () => {
    const job = await make([[rows.slice(0, 40)]], { learningRate: 10, gradClip: 0, warmupSteps: 4, schedule: "constant", checkpointEvery: 1, epochs: 100, weightDecay: 10 })
    const ended = await job.launch().ended
    expect(ended.code, ended.stderr).toBe(65)
    const told = /error: step (\d+): the loss is not a finite number; the last good checkpoint is that of step (\d+)\./.exec(ended.stderr)
    expect(told, ended.stderr).not.toBeNull()
    expect(Number(told?.[1])).toBe(Number(told?.[2]) + 1)
    expect(readdirSync(job.checkpoints)).toContain(`step-${String(told?.[2]).padStart(8, "0")}`)
    expect(ended.stderr).not.toMatch(/restart \d of/)
  })
})
