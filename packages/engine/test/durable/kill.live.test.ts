/**
 * kill -9 of a daemon again and again, at numbered points in and between steps, and at moments that hit the executor's own writes.
 * Every workflow must complete with the right result, and no step that was recorded may run again.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, expect, it } from "vitest"
import { homeAt } from "../../src/Home.ts"
import { removeHome } from "../store/databases.ts"

const child = fileURLToPath(new URL("kill-child.ts", import.meta.url))
const directories: Array<string> = []
afterAll(async () => {
  for (const directory of directories) {
    await removeHome(homeAt(join(directory, "h"), join(directory, "h-cache")))
    rmSync(directory, { recursive: true, force: true })
  }
})

interface Line {
  readonly pid: number
  readonly recorded?: ReadonlyArray<string>
  readonly run?: string
  readonly step?: string
  readonly hash?: string
  readonly attempt?: number
  readonly result?: number
}

/** mulberry32: the same kills for the same seed */
const seeded = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

interface Life {
  readonly directory: string
  readonly workflows: number
  readonly generation: number
  readonly forget: boolean
  /** dies at this hook (0: at none) */
  readonly hook: number
  /** killed so long after it began (undefined: not) */
  readonly millis: number | undefined
}

const live = ({ directory, forget, generation, hook, millis, workflows }: Life) =>
  new Promise<{ readonly code: number | null; readonly stderr: string }>((resolve) => {
    const process_ = spawn(process.execPath, [child, join(directory, "h"), join(directory, "journal"), String(workflows), String(hook), forget ? "1" : "0", String(generation)])
    let stderr = ""
    let timer: NodeJS.Timeout | undefined
    process_.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
    process_.stdout.once("data", () => {
      if (millis !== undefined) timer = setTimeout(() => process_.kill("SIGKILL"), millis)
    })
    process_.once("close", (code) => {
      clearTimeout(timer)
      resolve({ code, stderr })
    })
  })

/** Lives until so many have died; a generation of workflows that completes meanwhile is followed by the next. */
const campaign = async (seed: number, workflows: number, deaths: number, forget = false) => {
  const directory = mkdtempSync(join(tmpdir(), "hk-"))
  directories.push(directory)
  const random = seeded(seed)
  let generation = 0
  for (let died = 0; died < deaths; ) {
    const byHook = random() < 0.6
    const { code, stderr } = await live({ directory, workflows, generation, forget, hook: byHook ? 1 + Math.floor(random() * 12 * workflows) : 0, millis: byHook ? undefined : Math.floor(random() * 120) })
    if (code === 0) generation++
    else if (code === null) died++
    else throw new Error(`the child failed by itself:\n${stderr}`)
  }
  const last = await live({ directory, workflows, generation, forget, hook: 0, millis: undefined })
  if (last.code !== 0) throw new Error(last.stderr)
  const lines = readFileSync(join(directory, "journal"), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Line)
  const ids = Array.from({ length: generation + 1 }, (_, g) => Array.from({ length: workflows }, (_, n) => `g${g}r${n}`)).flat()
  return { lines, ids }
}

/** Bodies that ran although their step was on record, or that ran twice in one life. */
const repeats = (lines: ReadonlyArray<Line>): ReadonlyArray<string> => {
  const found: Array<string> = []
  const recorded = new Map<string, Line>()
  const started = new Set<string>()
  for (const line of lines) {
    for (const key of line.recorded ?? []) recorded.set(key, line)
    if (line.step === undefined) continue
    if (recorded.has(`${line.run} ${line.hash}`)) found.push(`${line.run} ${line.step}: recorded, and run again`)
    const once = `${line.pid} ${line.run} ${line.step} ${line.attempt}`
    if (started.has(once)) found.push(`${line.run} ${line.step}: twice in one life`)
    started.add(once)
  }
  return found
}

const expected = 15 + 33 + 100 + 1000

const completed = (lines: ReadonlyArray<Line>) => new Map(lines.flatMap((line) => (line.result === undefined ? [] : [[line.run, line.result] as const])))

it.each([1, 2])("seed %i: every workflow completes with the right result, no recorded step runs again", async (seed) => {
  const { ids, lines } = await campaign(seed, 3, 10)
  expect(completed(lines)).toEqual(new Map(ids.map((id) => [id, expected])))
  expect(repeats(lines)).toEqual([])
})

it("64 workflows at once survive kills", async () => {
  const { ids, lines } = await campaign(7, 64, 3)
  expect(completed(lines)).toEqual(new Map(ids.map((id) => [id, expected])))
  expect(repeats(lines)).toEqual([])
})

it("the check finds a double run (planted: records are forgotten)", async () => {
  const { lines } = await campaign(1, 3, 3, true)
  expect(repeats(lines).length).toBeGreaterThan(0)
})
