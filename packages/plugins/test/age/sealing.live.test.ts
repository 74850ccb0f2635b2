/** Sealing as a process of its own: memory does not grow with the data, and plaintext is in no file at any time. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, readlink, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { canaryOf, scanDirectories } from "@hypernode/engine/testing/canary"

const text = "canary-4c81f07a9d"
let root: string
beforeEach(async () => { root = await mkdtemp(join(tmpdir(), "sealing-")) })
afterEach(() => rm(root, { recursive: true, force: true }))

const seal = (mebibytes: number, temporary: string) =>
  spawn(process.execPath, [join(import.meta.dirname, "sealAndReport.ts"), String(mebibytes), root, text], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, TMPDIR: temporary } })

/** Regular files that the process has open for writing, deleted ones included: what a scan of directories cannot see. */
const openFiles = async (pid: number): Promise<ReadonlyArray<{ readonly name: string; readonly bytes: Buffer }>> => {
  const found = []
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const name = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")
    const bytes = name.startsWith("/") && !name.startsWith("/dev/") ? await readFile(`/proc/${pid}/fd/${fd}`).catch(() => undefined) : undefined
    if (bytes !== undefined) found.push({ name, bytes })
  }
  return found
}

const peak = async (mebibytes: number): Promise<number> => {
  const child = seal(mebibytes, root)
  let out = ""
  child.stdout.on("data", (bytes) => { out += bytes })
  const [code] = await once(child, "close")
  assert.strictEqual(code, 0)
  const report = JSON.parse(out.trim().split("\n").at(-1)!) as { rows: number; expected: number; peakKiB: number }
  assert.strictEqual(report.rows, report.expected)
  return report.peakKiB / 1024
}

describe("age: a process that seals", () => {
  it("uses no more memory for twenty times the data", async () => {
    // both sizes are sealed by threads
    const small = await peak(24)
    const large = await peak(480)
    console.log(`peak memory: ${small.toFixed(0)} MiB for 24 MiB of rows, ${large.toFixed(0)} MiB for 480 MiB`)
    assert.isBelow(large - small, 228, "half of what the data grew by would mean that it is held")
  })

  it.skipIf(process.platform !== "linux")("writes plaintext nowhere, at no time", async () => {
    const temporary = await mkdtemp(join(tmpdir(), "sealing-tmp-"))
    const canary = canaryOf(text)
    const child = seal(64, temporary)
    try {
      const closed = once(child, "close")
      const running = () => child.exitCode === null && child.signalCode === null
      let out = ""
      child.stdout.on("data", (bytes) => { out += bytes })
      while (!out.includes("sealing") && running()) await new Promise((go) => setTimeout(go, 5))
      let looks = 0
      const source = join(root, "source")
      while (running()) {
        for (const { bytes, name } of await openFiles(child.pid!)) if (!name.startsWith(source)) assert.isFalse(bytes.includes(text), `${name} holds plaintext`)
        const { hits } = await scanDirectories(canary, [join(root, "home"), temporary])
        assert.isEmpty(hits)
        looks++
      }
      assert.strictEqual((await closed)[0], 0)
      assert.isAbove(looks, 0)
      const after = await scanDirectories(canary, [root, temporary])
      assert.isEmpty(after.unread)
      // the source is the one place, and a leak beside it would be seen
      assert.deepStrictEqual([...new Set(after.hits.map((hit) => hit.path))], [join(source, "rows.jsonl")])
      await writeFile(join(temporary, "leak"), `x${text}`)
      assert.isNotEmpty((await scanDirectories(canary, [temporary])).hits)
    } finally {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL")
        await once(child, "exit")
      }
      await rm(temporary, { recursive: true, force: true })
    }
  })
})
