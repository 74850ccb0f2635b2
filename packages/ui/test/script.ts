/** Runs for the page to show: one with a history (a lost worker, a resume), one that is played live. All through the real event log and fold. */
import type { SampleRow } from "@hypernode/api/types"
import { digest, planOf, someForm, type TestEngine, type TestRun } from "../../api/test/TestEngine.ts"

const model = { name: "SmolLM2-135M-Instruct", source: "file:tiny", revision: "1", tree: { digest: digest("model"), mediaType: "application/vnd.hypernode.tree.v1+json", size: 8_000_000_000 }, architecture: "LlamaForCausalLM", parameters: 134_515_008, license: "Apache-2.0" }
const segment = (index: number) => ({ index, artifact: { digest: digest(`segment ${index}`), mediaType: "application/age", size: 90_000 }, rows: 100, bytes: 89_000, tokens: 12_000 })
const sealed = { keyId: "dataset/1", recipients: ["age1qqqq"], commitment: "c".repeat(64), format: "chat", rows: 1_200, segments: Array.from({ length: 12 }, (_, i) => segment(i)) }

export const outputs = {
  select: { model, dataset: { name: "tickets.jsonl", uri: "/project/tickets.jsonl", format: "chat", rows: 1_200, bytes: 1_068_000, commitment: "c".repeat(64), saltKey: "salt/1" } },
  encrypt: sealed,
  shard: { sealed, slots: [0, 1].map((slot) => ({ slot, segments: [0, 1, 2, 3, 4, 5].map((i) => i * 2 + slot), rows: 600, bytes: 534_000 })) },
  train: {
    method: "lora",
    base: model,
    checkpoints: [200, 400, 600].map((step, i) => ({ step, epoch: i, loss: 1.6 - i * 0.1, evalLoss: [1.493, 1.461, 1.474][i]!, tree: { digest: digest(`checkpoint ${step}`), mediaType: "application/vnd.hypernode.tree.v1+json", size: 9_000_000 } })),
    steps: 600,
    tokens: 4_000_000,
    firstLoss: 2.31,
    lastLoss: 1.379,
    seconds: 2_566,
    worldSize: 2,
    deviceClass: "cpu x86-64",
    sandbox: "bubblewrap",
    trustTier: "sandboxed-bubblewrap",
    jobId: "job_1",
    telemetryHead: digest("head")
  },
  checkpoint: { base: model, form: "merged", step: 400, loss: 1.5, evalLoss: 1.461, tree: { digest: digest("exported"), mediaType: "application/vnd.hypernode.tree.v1+json", size: 9_000_000 } },
  package: { name: "support-bot", digest: digest("manifest"), artifactType: "application/vnd.cncf.model.manifest.v1+json", layout: "packages/support-bot", size: 9_100_000 },
  reward: { pool: "100 HYPER", poolUnits: "100000000000", accruedUnits: "61285000000", returnedUnits: "38715000000", policy: "work", accruals: [{ node: "c3BydWNlLTAzMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=", units: "30643000000", workMilliseconds: 2_566_000, reason: "measured work" }, { node: "aGFsLTE3MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=", units: "30642000000", workMilliseconds: 2_561_000, reason: "measured work" }], unlocksAt: 0 }
} as const

const nodes = ["c3BydWNlLTAzMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=", "aGFsLTE3MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]

/** Deterministic noise. */
const noise = (n: number): number => {
  const x = Math.sin(n * 127.1) * 43_758.5453
  return x - Math.floor(x) - 0.5
}

export const lossAt = (step: number): number => 1.3 + 1.02 * Math.exp(-step / 420)

const stepRows = (step: number, at: number, totalSteps: number, millis: number): Array<Omit<SampleRow, "id">> =>
  [0, 1].map((rank) => ({
    at: at + rank,
    rank,
    kind: "step" as const,
    step,
    totalSteps,
    epoch: step / 600,
    loss: lossAt(step) + noise(step) * 0.2,
    learningRate: step < 96 ? (2e-4 * step) / 96 : 1e-4 * (1 + Math.cos((Math.PI * (step - 96)) / (totalSteps - 96))),
    tokens: 4_000,
    tokensPerSecond: 2_280 + noise(step + rank * 7) * 130,
    workMilliseconds: Math.round(millis * (rank === 0 ? 0.95 : 0.82) * (1 + noise(step + rank) * 0.05)),
    memoryBytes: 13_800_000_000 - rank * 90_000_000,
    stepId: "train",
    node: nodes[rank]!
  }))

const phase = (at: number, step: number, text: string): Omit<SampleRow, "id"> => ({ at, rank: 0, kind: "phase", step, text, stepId: "train", node: nodes[0]! })

/** Forty-six minutes of a run whose second worker was lost and replaced; training is at 61 %. */
export const withHistory = (engine: TestEngine, now = Date.now(), tenant = "acme"): TestRun => {
  const start = now - 2_789_000
  const at = (seconds: number) => start + seconds * 1000
  const run = engine.create(tenant, planOf({ ...someForm, name: "support-bot", model: "./models/SmolLM2-135M-Instruct" }), "owner", start)
  const add = (seconds: number, event: Parameters<TestEngine["append"]>[1]) => engine.append(run, event, at(seconds))
  add(0, { _tag: "RunStarted", executor: "embedded" })
  add(0, { _tag: "StepStarted", step: "select", attempt: 1 })
  add(41, { _tag: "StepCached", step: "select", output: outputs.select as never, cacheKey: "k1", fromRun: "run_0000aa11bb22" })
  add(41, { _tag: "StepStarted", step: "encrypt", attempt: 1 })
  add(60, { _tag: "StepLog", step: "encrypt", level: "info", message: "12 segments sealed to 1 recipient, 1,200 rows" })
  add(153, { _tag: "StepEnded", step: "encrypt", attempt: 1, output: outputs.encrypt as never, cacheKey: "k2" })
  add(153, { _tag: "StepStarted", step: "shard", attempt: 1 })
  add(159, { _tag: "StepEnded", step: "shard", attempt: 1, output: outputs.shard as never, cacheKey: "k3" })
  add(159, { _tag: "StepStarted", step: "train", attempt: 1 })
  add(160, { _tag: "StepJobStarted", step: "train", attempt: 1, job: { id: "job_1", supervisor: "1", directory: "/home/jobs/1" } })
  add(1749, { _tag: "StepFailed", step: "train", attempt: 1, reason: "JobFailed", message: "slot 1 ended with signal SIGKILL at step 1,310", final: false })
  add(1813, { _tag: "StepStarted", step: "train", attempt: 2 })
  add(1814, { _tag: "StepJobStarted", step: "train", attempt: 2, job: { id: "job_2", supervisor: "2", directory: "/home/jobs/2" } })
  add(1815, { _tag: "StepLog", step: "train", level: "warn", message: "resumes from checkpoint step 1,200; 110 steps run again" })
  add(2788, { _tag: "StepProgress", step: "train", label: "training", done: 1_952, total: 3_200, unit: "steps" })
  const rows: Array<Omit<SampleRow, "id">> = [phase(at(165), 0, "loading"), phase(at(176), 0, "training")]
  for (let step = 2; step <= 1_310; step += 2) {
    rows.push(...stepRows(step, at(180 + step * 1.19), 3_200, 2_400))
    if (step % 200 === 0) {
      rows.push({ at: at(180 + step * 1.19) + 300, rank: 0, kind: "eval", step, evalLoss: lossAt(step) + 0.085, stepId: "train", node: nodes[0]! })
      rows.push({ at: at(180 + step * 1.19) + 400, rank: 0, kind: "checkpoint", step, text: `checkpoints/${step}`, stepId: "train", node: nodes[0]! })
    }
  }
  rows.push(phase(at(1_822), 1_200, "resumed"))
  for (let step = 1_202; step <= 1_952; step += 2) {
    rows.push(...stepRows(step, at(1_824 + (step - 1_200) * 1.28), 3_200, 2_560))
    if (step % 200 === 0) {
      rows.push({ at: at(1_824 + (step - 1_200) * 1.28) + 300, rank: 0, kind: "eval", step, evalLoss: lossAt(step) + 0.085, stepId: "train", node: nodes[0]! })
      rows.push({ at: at(1_824 + (step - 1_200) * 1.28) + 400, rank: 0, kind: "checkpoint", step, text: `checkpoints/${step}`, stepId: "train", node: nodes[0]! })
    }
  }
  engine.sample(run, rows)
  engine.log(run, "train", 2, "loading model\ntrainable parameters: 460,800 of 134,975,808\nresumed from step 1200\n")
  run.cost = { dollars: 0.9853, deviceSeconds: 5_132, pricePerSecond: 0.000192, forecastDollars: 1.61, budgetDollars: 3 }
  return run
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** Plays a whole run: every stage, training with samples, a checkpoint, an endpoint, a settlement. `beat` is the pause between events. */
export const play = async (engine: TestEngine, run: TestRun, options: { readonly beat: number; readonly steps: number; readonly endpointUrl: string; readonly pauseAt?: { readonly step: number; readonly until: Promise<void> } }): Promise<void> => {
  const { beat, steps } = options
  engine.append(run, { _tag: "RunStarted", executor: "embedded" })
  for (const stage of ["select", "encrypt", "shard"] as const) {
    engine.append(run, { _tag: "StepStarted", step: stage, attempt: 1 })
    await pause(beat)
    engine.append(run, { _tag: "StepEnded", step: stage, attempt: 1, output: outputs[stage] as never, cacheKey: stage })
  }
  engine.append(run, { _tag: "StepStarted", step: "train", attempt: 1 })
  engine.append(run, { _tag: "StepJobStarted", step: "train", attempt: 1, job: { id: "job_1", supervisor: "1", directory: "/jobs/1" } })
  engine.sample(run, [phase(Date.now(), 0, "loading")])
  engine.log(run, "train", 1, "loading model\n")
  for (let step = 1; step <= steps; step++) {
    if (options.pauseAt?.step === step) await options.pauseAt.until
    await pause(beat)
    engine.sample(run, stepRows(step, Date.now(), steps, Math.max(2, beat)))
    engine.append(run, { _tag: "StepProgress", step: "train", label: "training", done: step, total: steps, unit: "steps" })
    if (step % 10 === 0) {
      engine.sample(run, [{ at: Date.now(), rank: 0, kind: "eval", step, evalLoss: lossAt(step) + 0.08, stepId: "train", node: nodes[0]! }])
      engine.log(run, "train", 1, `step ${step} done\n`)
    }
    run.cost = { ...run.cost, dollars: step * 0.001, deviceSeconds: step * 5 }
  }
  engine.append(run, { _tag: "StepEnded", step: "train", attempt: 1, output: outputs.train as never, cacheKey: "train" })
  for (const stage of ["checkpoint", "package"] as const) {
    engine.append(run, { _tag: "StepStarted", step: stage, attempt: 1 })
    await pause(beat)
    engine.append(run, { _tag: "StepEnded", step: stage, attempt: 1, output: outputs[stage] as never, cacheKey: stage })
  }
  engine.append(run, { _tag: "StepStarted", step: "serve", attempt: 1 })
  await pause(beat)
  const endpoint = { id: `ep_${run.id}`, url: options.endpointUrl, model: engine.fold(run).pipeline, keyHint: "hyp_ab", keyId: "endpoint/1", packaged: digest("manifest") }
  engine.endpoints.push({ ...endpoint, tenant: run.tenant, key: "hyp_abcdefgh", runId: run.id, state: "healthy", lastCompletionAt: Date.now() - 4_000 })
  engine.append(run, { _tag: "StepEnded", step: "serve", attempt: 1, output: endpoint as never, cacheKey: "serve" })
  engine.append(run, { _tag: "StepStarted", step: "reward", attempt: 1 })
  const settlement = { ...outputs.reward, unlocksAt: Date.now() + 86_400_000 }
  run.rewards = {
    settlement: settlement as never,
    explanations: nodes.map((node) => ({ sentence: "You were paid 30.643 of 100 HYPER: 2,566 of 8,374 verified device seconds", node, terms: [{ name: "device time", weight: 1, mine: 2_566_000, all: 8_374_000, units: "30643000000" }], samples: { accepted: 58, rejected: [{ reason: "unsigned", remedy: "Update the agent", count: 2 }] }, batches: [digest(node)], unlocksAt: settlement.unlocksAt }))
  }
  engine.append(run, { _tag: "StepEnded", step: "reward", attempt: 1, output: settlement as never, cacheKey: "reward" })
  engine.append(run, { _tag: "RunEnded", outcome: "succeeded" })
}
