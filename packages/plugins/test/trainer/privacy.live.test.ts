/** While ranks run: no row and no token on disk, argv or environment; nothing listens beyond loopback; SIGTERM ends all of it. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { fixtures, makeJob, python, pythonReady, ranksOf, until, type Job, type Running } from "./job.ts"
import { leaks } from "./scan.ts"

const canary = "the ochre heron of Vexley counts nineteen copper kettles"
const text = (index: number): string => JSON.stringify({ text: `Row ${index}. It is known that ${canary} in the morning and in the evening.` })
const rows = Array.from({ length: 40 }, (_, index) => text(index))

const tokenIds = (): ReadonlyArray<number> =>
  JSON.parse(
    execFileSync(python ?? "", ["-c", "import json,sys; from tokenizers import Tokenizer; print(json.dumps(Tokenizer.from_file(sys.argv[1]).encode(' ' + sys.argv[2], add_special_tokens=False).ids))", join(fixtures, "models/tiny-llama/tokenizer.json"), canary], { encoding: "utf8" })
  ) as ReadonlyArray<number>

/** Local addresses (hex, as /proc has them) on which the process listens. */
const listening = (pid: number): ReadonlyArray<string> => {
  const inodes = new Set(execFileSync("ls", ["-l", `/proc/${pid}/fd`], { encoding: "utf8" }).match(/(?<=socket:\[)\d+/g) ?? [])
  return ["tcp", "tcp6"].flatMap((name) =>
    readFileSync(`/proc/${pid}/net/${name}`, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A" && inodes.has(fields[9] ?? ""))
      .map((fields) => (fields[1] ?? "").split(":")[0] ?? "")
  )
}
const alive = (pid: number): boolean => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))

describe.skipIf(!pythonReady() || process.platform !== "linux")("a running job", () => {
  let job: Job
  let running: Running
  let pids: ReadonlyArray<number>
  beforeAll(async () => {
    // plain text, three ranks, one of them with nothing to do: its slot still steps along
    job = await makeJob([[rows.slice(0, 15), rows.slice(15, 25)], [rows.slice(25)], []], { format: "text", epochs: 1000, checkpointEvery: 3, evalFraction: 0.2, sequenceLength: 32 })
    running = job.launch()
    await until(() => (existsSync(join(job.checkpoints, "step-00000003")) ? true : undefined), running)
    pids = [running.child.pid ?? 0, ...ranksOf(running.child.pid ?? 0)]
    expect(pids).toHaveLength(4)
  })
  afterAll(async () => {
    await job.dispose()
  })

  it("keeps rows and token ids out of every file; the scan catches a planted leak", () => {
    const ids = tokenIds()
    expect(ids.length).toBeGreaterThan(10)
    expect(leaks([job.directory], canary, ids)).toEqual([])
    const planted = mkdtempSync(join(tmpdir(), "ht-leak-"))
    try {
      writeFileSync(join(planted, "text"), rows[3] ?? "")
      writeFileSync(join(planted, "base64"), Buffer.from(`x${rows[3]}`).toString("base64"))
      writeFileSync(join(planted, "ids"), Buffer.from(new Int32Array(ids).buffer))
      writeFileSync(join(planted, "json"), JSON.stringify(ids))
      writeFileSync(join(planted, "innocent"), "kettles")
      expect(leaks([planted], canary, ids)).toHaveLength(4)
    } finally {
      rmSync(planted, { recursive: true })
    }
  })

  it("keeps lease tokens out of files, argv and environments, and switches core dumps off", () => {
    const token = job.leases.tokens[0] ?? ""
    expect(token).toHaveLength(32)
    expect(leaks([job.directory], token, [])).toEqual([])
    for (const pid of pids) {
      for (const name of ["cmdline", "environ"]) expect(readFileSync(`/proc/${pid}/${name}`).includes(token)).toBe(false)
      expect(readFileSync(`/proc/${pid}/limits`, "utf8")).toMatch(/^Max core file size\s+0\s+0/m)
    }
    // the reading works at all
    expect(readFileSync(`/proc/${pids[1]}/environ`, "utf8")).toContain("HYPER_TOKENS=fd:")
  })

  it("listens on loopback only", () => {
    const addresses = pids.flatMap(listening)
    expect(addresses.length).toBeGreaterThan(0)
    expect(new Set(addresses)).toEqual(new Set(["0100007F"]))
  })

  it("reports work for each rank that has any, and counts tokens on `work` lines alone", async () => {
    const works = () => job.samples().filter((sample) => sample["kind"] === "work" && Number(sample["tokens"]) > 0)
    await until(() => (new Set(works().map((sample) => sample["rank"])).size === 2 ? true : undefined), running)
    expect(works().every((sample) => Number(sample["workMilliseconds"]) > 0)).toBe(true)
    expect(job.samples().filter((sample) => sample["kind"] !== "work" && "tokens" in sample)).toEqual([])
  })

  it("SIGTERM ends the launcher with 143 and every rank with it", async () => {
    process.kill(running.child.pid ?? 0, "SIGTERM")
    const ended = await running.ended
    expect(ended.code, ended.stderr).toBe(143)
    expect(pids.filter(alive)).toEqual([])
    expect(readdirSync(job.directory).filter((name) => name.startsWith("elastic-"))).toEqual([])
  })

  it("SIGKILL of the launcher alone leaves no rank behind", async () => {
    const again = job.launch()
    const ranks = await until(() => {
      const found = ranksOf(again.child.pid ?? 0)
      return found.length === 3 && job.samples().some((sample) => sample["text"] === "resumed") ? found : undefined
    }, again)
    process.kill(again.child.pid ?? 0, "SIGKILL")
    await again.ended
    expect(ranks.filter(alive)).toEqual([])
  })
})
