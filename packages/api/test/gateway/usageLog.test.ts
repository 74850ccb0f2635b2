import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { EventStream } from "../../src/gateway/EventStream.ts"
import { Quota } from "../../src/gateway/Quota.ts"
import { Slots } from "../../src/gateway/Slots.ts"
import { UsageLog } from "../../src/gateway/UsageLog.ts"
import { key } from "./world.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hgw-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const usage = (at: number) => ({ at, endpoint: "ep", tenant: "default", key: "hk-test", operation: "completions" as const, promptTokens: 1, completionTokens: 2, estimated: false, milliseconds: 3, status: 200 })

test("rotation keeps sequence and the day's tokens when the old files are gone", () => {
  const path = join(directory, "usage.jsonl")
  const quota = new Quota()
  const log = new UsageLog(path, "gw", quota, () => undefined, 2000)
  for (let i = 0; i < 50; i++) log.record(usage(Date.now()))
  log.close()
  const files = readdirSync(directory).toSorted()
  expect(files.length).toBeGreaterThan(2)
  const sequences = files.flatMap((name) => readFileSync(join(directory, name), "utf8").trim().split("\n").map((line) => JSON.parse(line) as { sequence: number; header?: true })).filter((line) => line.header === undefined).map((line) => line.sequence)
  expect(sequences.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
  for (const name of files) if (name !== "usage.jsonl") rmSync(join(directory, name))
  const fresh = new Quota()
  const again = new UsageLog(path, "gw", fresh, () => undefined)
  expect([again.sequence, fresh.tokens("default", "hk-test")]).toEqual([50, 150])
  again.close()
})

test("a quota starts again at midnight UTC and each minute", () => {
  let now = Date.UTC(2026, 0, 1, 23, 59, 30)
  const quota = new Quota(() => now)
  const limited = key({ tokensPerDay: 10, requestsPerMinute: 1 })
  quota.spend(limited.tenant, limited.hint, 10, now)
  expect(quota.admit(limited)).toMatchObject({ status: 429, retryAfter: 30 })
  now += 30_000
  expect(quota.admit(limited)).toBeUndefined()
  expect(quota.admit(limited)).toMatchObject({ status: 429, retryAfter: 60 })
  now += 60_000
  expect(quota.admit(limited)).toBeUndefined()
})

test("a slot goes to who waits longest, and not to who has gone", async () => {
  const slots = new Slots(1, 2)
  const gone = new AbortController()
  const live = new AbortController().signal
  expect(await slots.acquire(live)).toBe("held")
  const first = slots.acquire(gone.signal)
  const second = slots.acquire(live)
  expect(await slots.acquire(live)).toBe("full")
  gone.abort()
  expect(await first).toBe("gone")
  slots.release()
  expect(await second).toBe("held")
})

const event = (content: string) => `data: ${JSON.stringify({ model: "/up", choices: [{ delta: { content } }] })}\r\n\r\n`

test("events that are cut anywhere come out whole, and only whole", () => {
  const bytes = Buffer.from(`: comment\n${event("grüße 😀")}${event("b")}data: ${JSON.stringify({ model: "/up", choices: [], usage: { prompt_tokens: 4, completion_tokens: 5 } })}\r\n\r\ndata: [DONE]\n\n`)
  for (let cut = 1; cut < bytes.length; cut++) {
    const stream = new EventStream("ours", "/up", false)
    const out = stream.push(bytes.subarray(0, cut)) + stream.push(bytes.subarray(cut)) + stream.end()
    expect(out).toBe(`: comment\ndata: ${JSON.stringify({ model: "ours", choices: [{ delta: { content: "grüße 😀" } }] })}\n\r\ndata: ${JSON.stringify({ model: "ours", choices: [{ delta: { content: "b" } }] })}\n\r\ndata: [DONE]\n\n`)
    expect(stream.usage).toEqual({ promptTokens: 4, completionTokens: 5, estimated: false })
  }
})
