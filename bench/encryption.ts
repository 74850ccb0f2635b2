/**
 * Sealing a data set through the `age` plugin, beside raw ChaCha20-Poly1305 in Node (in memory, and from file to file) and Debian's `age`.
 *
 *     node bench/encryption.ts [--json] [--quick] [--mib 1024] [--rounds 3] [--directory <dir>]
 *
 * Each contender is a process of its own, in turns; a figure is the best of the rounds. Source and results lie in memory (/dev/shm) where
 * it has room, so that the disk, which the artifact store waits for and the others do not, stays out of it. The plugin does more than the
 * others: it checks rows, holds the file to its commitment (by its tag) and addresses each segment by its SHA-256. What that digest alone
 * costs here is printed beside: a floor that neither peer has. (The plugin uses two threads on two processors, `age` one.)
 * Aims: at least 0.7 of raw, at least Debian's `age`, memory that does not grow.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs"
import { availableParallelism, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    mib: { type: "string" },
    rounds: { type: "string" },
    directory: { type: "string" }
  }
})
const mebibytes = Number(values.mib ?? (values.quick ? 128 : 1024))
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
if (!Number.isInteger(mebibytes) || mebibytes < 1 || !Number.isInteger(rounds) || rounds < 1) throw new Error("--mib and --rounds take whole numbers from 1")

export interface EncryptionFigure {
  readonly name: string
  readonly seconds: number
  readonly megabytesPerSecond: number
  /** user and system time of the process */
  readonly cpuSeconds: number
  readonly peakMebibytes: number
}

const room = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory)
  return (bavail * bsize) / (1 << 20)
}
const base = values.directory ?? (existsSync("/dev/shm") && room("/dev/shm") > 3 * mebibytes + 256 ? "/dev/shm" : tmpdir())
const box = mkdtempSync(join(base, "hyper-bench-"))
const source = join(box, "rows.jsonl")

const rowOf = (i: number): string => JSON.stringify({ messages: [{ role: "user", content: `question ${i}: ${"why does it do that when I ask ".repeat(10)}` }, { role: "assistant", content: `answer ${i}: ${"because it was made to do so ".repeat(20)}` }] })

/** Whole rows, at least `mebibytes` of them. */
const writeSource = async (): Promise<{ readonly rows: number; readonly bytes: number }> => {
  const out = createWriteStream(source)
  let rows = 0, bytes = 0
  while (bytes < mebibytes << 20 || bytes < mebibytes * 1_048_576) {
    let text = ""
    for (let i = 0; i < 1000; i++) text += `${rowOf(rows++)}\n`
    bytes += text.length
    if (!out.write(text)) await once(out, "drain")
  }
  out.end()
  await once(out, "close")
  return { rows, bytes }
}

/** Highest resident set so far, while the process lives. */
const peakOf = (pid: number): number => {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}
const cpuOf = (pid: number): number => {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return 0
  }
}

/** A contender of ours times itself and prints {seconds, cpuSeconds, peakMebibytes}; `age` is watched from outside, start included. */
const ours = async (mode: string, facts: { readonly rows: number; readonly bytes: number }): Promise<Omit<EncryptionFigure, "name" | "megabytesPerSecond">> => {
  const work = join(box, mode)
  mkdirSync(work)
  const child = spawn(process.execPath, [join(import.meta.dirname, "encryption", "contender.ts"), mode, source, work, String(facts.rows), String(facts.bytes)], {
    stdio: ["ignore", "pipe", "inherit"],
    // as the daemon has it
    env: { ...process.env, NODE_COMPILE_CACHE: join(box, "compile") }
  })
  let out = ""
  child.stdout.on("data", (bytes: Buffer) => { out += bytes.toString() })
  const [code] = await once(child, "close")
  rmSync(work, { recursive: true, force: true })
  if (code !== 0) throw new Error(`${mode} ended with ${String(code)}`)
  return JSON.parse(out) as Omit<EncryptionFigure, "name" | "megabytesPerSecond">
}

const debianAge = async (): Promise<Omit<EncryptionFigure, "name" | "megabytesPerSecond">> => {
  const target = join(box, "age.out")
  const recipient = /public key: (\S+)/.exec(spawnSync("age-keygen", { encoding: "utf8" }).stdout)?.[1] as string
  const started = performance.now()
  const child = spawn("age", ["-r", recipient, "-o", target, source], { stdio: ["ignore", "ignore", "inherit"] })
  let peak = 0, cpu = 0
  const watch = setInterval(() => {
    peak = Math.max(peak, peakOf(child.pid as number))
    cpu = Math.max(cpu, cpuOf(child.pid as number))
  }, 10)
  const [code] = await once(child, "exit").finally(() => clearInterval(watch))
  const seconds = (performance.now() - started) / 1000
  rmSync(target, { force: true })
  if (code !== 0) throw new Error(`age ended with ${String(code)}`)
  return { seconds, cpuSeconds: cpu, peakMebibytes: peak }
}

const hasAge = spawnSync("age", ["--version"]).status === 0
try {
  const facts = await writeSource()
  const contenders: ReadonlyArray<readonly [string, () => Promise<Omit<EncryptionFigure, "name" | "megabytesPerSecond">>]> = [
    ["raw ChaCha20-Poly1305, memory", () => ours("raw-memory", facts)],
    ["raw ChaCha20-Poly1305, file to file", () => ours("raw-file", facts)],
    ...(hasAge ? [["Debian's age, file to file", debianAge] as const] : []),
    ["hyper age(), file to artifact store", () => ours("plugin", facts)],
    ["SHA-256 alone, memory", () => ours("sha256", facts)]
  ]
  const best = new Map<string, EncryptionFigure>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of contenders) {
      const figure = await run()
      const before = best.get(name)
      if (before === undefined || figure.seconds < before.seconds) best.set(name, { name, ...figure, megabytesPerSecond: facts.bytes / 1e6 / figure.seconds })
    }
  }
  const figures = [...best.values()]
  const rate = (part: string): number => figures.find((f) => f.name.includes(part))?.megabytesPerSecond ?? Number.NaN
  const cpuOfPart = (part: string): number => figures.find((f) => f.name.includes(part))?.cpuSeconds ?? Number.NaN
  const report = {
    figures, bytes: facts.bytes, rows: facts.rows, processors: availableParallelism(), load: loadavg()[0], inMemory: base === "/dev/shm",
    ofRawMemory: rate("hyper") / rate("raw ChaCha20-Poly1305, memory"), ofRawFile: rate("hyper") / rate("raw ChaCha20-Poly1305, file"), ofAge: rate("hyper") / rate("Debian"),
    ofAgeAndDigest: rate("hyper") * (1 / rate("Debian") + 1 / rate("SHA-256")),
    digestCpuSeconds: cpuOfPart("SHA-256"), hyperCpuSeconds: cpuOfPart("hyper")
  }
  if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
  else {
    process.stdout.write(`${(facts.bytes / (1 << 20)).toFixed(0)} MiB, ${facts.rows} rows, ${report.processors} processors (load ${report.load?.toFixed(1)}), ${report.inMemory ? "in memory" : `on ${base}`}, best of ${rounds}\n`)
    for (const f of figures) process.stdout.write(`${f.name.padEnd(38)} ${f.seconds.toFixed(2).padStart(7)} s ${f.megabytesPerSecond.toFixed(0).padStart(6)} MB/s  cpu ${f.cpuSeconds.toFixed(2).padStart(6)} s  peak ${f.peakMebibytes.toFixed(0).padStart(5)} MiB\n`)
    process.stdout.write(`hyper / raw in memory ${report.ofRawMemory.toFixed(2)}   hyper / raw file to file ${report.ofRawFile.toFixed(2)}   hyper / age ${hasAge ? report.ofAge.toFixed(2) : "(age is not installed)"}\n`)
    if (hasAge) process.stdout.write(`hyper / age and then SHA-256 of its file, which is what the plugin gives: ${report.ofAgeAndDigest.toFixed(2)}\n`)
    process.stdout.write(`of hyper's ${report.hyperCpuSeconds.toFixed(2)} cpu s, the content address (SHA-256), which no peer computes, is ${report.digestCpuSeconds.toFixed(2)} s\n`)
  }
} finally {
  rmSync(box, { recursive: true, force: true })
}
