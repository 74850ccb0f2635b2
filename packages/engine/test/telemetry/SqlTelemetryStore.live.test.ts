import { appendFile, mkdir, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"
import { beforeEach, describe, expect, it } from "vitest"
import type { Sample, SignedBatch } from "../../src/telemetry/Sample.ts"
import { layer } from "../../src/telemetry/SqlTelemetryStore.ts"
import { TelemetryStore } from "../../src/telemetry/TelemetryStore.ts"
import { START, testNode, work } from "../rewards/batches.ts"
import { databases, testDatabase } from "./database.ts"

describe.each(databases)("on the %s database", (which) => {
  const { home, run } = testDatabase(layer, which)
  let n = 0
  let runId = ""
  let job = ""
  beforeEach(() => {
    runId = `run-${n++}`
    job = `job-${n}`
  })

  const append = (batch: SignedBatch, id = runId) => run(TelemetryStore.use((store) => store.append(id, "train", batch)))
  const ingest = (directory: string) => run(TelemetryStore.use((store) => store.ingest(runId, "train", directory)))
  const batches = (id = runId) => run(TelemetryStore.use((store) => store.batches(id)))
  const samples = (options?: { stepId?: string; after?: number; limit?: number }) => run(TelemetryStore.use((store) => store.samples(runId, options)))
  const refusals = () => run(Effect.flatMap(SqlClient, (sql) => sql<{ reason: string; message: string; remedy: string; read_at: number }>`SELECT reason, message, remedy, read_at FROM telemetry_refusals WHERE run_id = ${runId} ORDER BY id`))

  describe("append", () => {
    it("stores a chain once, and gives back the signed bytes", async () => {
      const node = testNode()
      const odd: Sample = { at: START, rank: 0, kind: "step", step: 1, loss: 0.1 + 0.2, learningRate: 1e-21, gradNorm: 1e21, tokensPerSecond: 123456789.123, text: "ü\u0000"[0] ?? "" }
      const chain = [node.batch([odd], job), node.batch([work(1, 900), work(2, 1000)], job)]
      for (const batch of [...chain, ...chain]) await append(batch)
      expect(await batches()).toEqual(chain)
      expect(await samples()).toEqual([odd, work(1, 900), work(2, 1000)].map((sample) => ({ ...sample, id: expect.any(Number), stepId: "train", node: node.id })))
    })
    it("stores it once when many bring it at the same time", async () => {
      const batch = testNode().batch([work(1, 1)], job)
      await Promise.all(Array.from({ length: 12 }, () => append(batch)))
      expect(await samples()).toHaveLength(1)
    })
    it("keeps two runs apart: a chain is stored once, under the run that brought it first", async () => {
      const batch = testNode().batch([work(1, 1)], job)
      await append(batch)
      await append(batch, "another-run")
      expect([await batches(), await batches("another-run")]).toEqual([[batch], []])
    })
    it("pages, and never skips", async () => {
      const node = testNode()
      for (let i = 0; i < 5; i++) await append(node.batch([work(i, 1), work(i, 2)], job))
      const first = await samples({ limit: 3 })
      const rest = await samples({ after: first[2]!.id })
      expect([...first, ...rest].map(({ workMilliseconds }) => workMilliseconds)).toEqual([1, 2, 1, 2, 1, 2, 1, 2, 1, 2])
      expect(await samples({ stepId: "other" })).toEqual([])
    })
    it("names a gap, a fork, an altered batch, a foreign signature; none is stored", async () => {
      const node = testNode()
      const [first, second, third] = [node.batch([work(1, 1)], job), node.batch([work(2, 1)], job), node.batch([work(3, 1)], job)]
      await expect(append(second!)).rejects.toMatchObject({ reason: "gap", message: expect.stringContaining("1 batch(es) are missing"), remedy: expect.stringContaining("from 0 on") })
      await append(first!)
      await expect(append(third!)).rejects.toMatchObject({ reason: "gap" })
      await expect(append(node.forge({ job, sequence: 0, samples: [work(1, 9)] }))).rejects.toMatchObject({ reason: "fork", message: expect.stringContaining(`job ${job}`) })
      await expect(append(node.forge({ job, sequence: 1, previous: `sha256:${"1".repeat(64)}` }))).rejects.toMatchObject({ reason: "fork" })
      await expect(append({ ...second!, samples: [work(2, 2)] })).rejects.toMatchObject({ reason: "digest" })
      await expect(append({ ...second!, signature: testNode().batch([]).signature })).rejects.toMatchObject({ reason: "signature" })
      await expect(append({ ...second!, node: "x" })).rejects.toMatchObject({ reason: "malformed" })
      await expect(append({ ...second!, extra: 1 } as SignedBatch)).rejects.toMatchObject({ reason: "malformed" })
      expect(await batches()).toEqual([first])
      await append(second!)
      await append(third!)
      expect(await batches()).toHaveLength(3)
    })
    it("cannot be changed afterwards, by anybody who writes SQL", async () => {
      await append(testNode().batch([work(1, 1)], job))
      for (const statement of ["UPDATE telemetry_batches SET digest = ''", "DELETE FROM telemetry_batches", "UPDATE telemetry_samples SET sample = '{}'", "DELETE FROM telemetry_samples", "TRUNCATE telemetry_samples"]) {
        await expect(run(Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement))), statement).rejects.toThrow()
      }
      expect(await samples()).toHaveLength(1)
    })
  })

  describe("ingest", () => {
    let directory = ""
    const line = (batch: unknown) => `${JSON.stringify(batch)}\n`
    const file = () => join(directory, "batches.jsonl")
    beforeEach(async () => {
      directory = join(home(), `${runId}-job`)
      await mkdir(directory)
    })

    it("reads what is new, and leaves half a line for the next time", async () => {
      const node = testNode()
      const [first, second] = [node.batch([work(1, 1)], job), node.batch([work(2, 2), work(3, 3)], job)]
      expect(await ingest(directory)).toEqual([])
      await writeFile(file(), line(first) + line(second).slice(0, 50))
      expect(await ingest(directory)).toEqual([work(1, 1)])
      expect(await ingest(directory)).toEqual([])
      await appendFile(file(), line(second).slice(50))
      expect(await ingest(directory)).toEqual([work(2, 2), work(3, 3)])
      expect(await refusals()).toEqual([])
    })
    it("gives each sample to one of many that ingest at once", async () => {
      const node = testNode()
      await writeFile(file(), Array.from({ length: 40 }, (_, i) => line(node.batch([work(i, i)], job))).join(""))
      const all = (await Promise.all(Array.from({ length: 6 }, () => ingest(directory)))).flat()
      expect(all).toHaveLength(40)
      expect(await samples()).toHaveLength(40)
    })
    it("starts where it stopped when its transaction did not commit", async () => {
      const node = testNode()
      await writeFile(file(), line(node.batch([work(1, 1)], job)) + line(node.batch([work(2, 2)], job)))
      const rolledBack = Effect.gen(function*() {
        const sql = yield* SqlClient
        const store = yield* TelemetryStore
        yield* sql.withTransaction(Effect.andThen(store.ingest(runId, "train", directory), Effect.fail("crash")))
      })
      await expect(run(rolledBack)).rejects.toThrow()
      expect(await samples()).toEqual([])
      expect(await ingest(directory)).toHaveLength(2)
    })
    it("records what does not hold with its place, passes it over, and shows none of its content", async () => {
      const node = testNode()
      const [first, second, third] = [node.batch([work(1, 1)], job), node.batch([work(2, 2)], job), node.batch([work(3, 3)], job)]
      const text = `${line(first)}CANARY not json\n${line({ ...second, samples: [{ ...work(2, 2), text: "CANARY" }] })}${line({ hello: "CANARY" })}${line(third)}${line(second)}`
      await writeFile(file(), text)
      expect(await ingest(directory)).toEqual([work(1, 1), work(2, 2)])
      const found = await refusals()
      expect(found.map(({ reason }) => reason)).toEqual(["malformed", "digest", "malformed", "gap"])
      expect(found[0]).toMatchObject({ message: expect.stringContaining("byte"), read_at: line(first).length })
      expect(JSON.stringify(found)).not.toContain("CANARY")
      expect(found.every(({ remedy }) => remedy.length > 0)).toBe(true)
    })
    it("reads a file that is larger than one gulp", async () => {
      const node = testNode()
      const big = Array.from({ length: 3000 }, (_, i) => work(i, i, { text: "x".repeat(1_000) }))
      await writeFile(file(), [line(node.batch(big, job)), line(node.batch(big, job)), line(node.batch([work(1, 1)], job))].join(""))
      expect(await ingest(directory)).toHaveLength(6001)
    })
    it("names a file that was cut off", async () => {
      await writeFile(file(), line(testNode().batch([work(1, 1)], job)))
      await ingest(directory)
      await truncate(file(), 10)
      await expect(ingest(directory)).rejects.toMatchObject({ message: expect.stringContaining("cut off or replaced") })
    })
  })
})
