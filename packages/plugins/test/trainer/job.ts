/** A training job as the torchrun plugin starts it: sealed segments, a lease socket, config.json, tokens on standard input. */
import { spawn, type ChildProcess } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { sealFile, type SealedFile } from "./ageFile.ts"
import { leaseServer, type LeaseServer } from "./LeaseServer.ts"

const repo = resolve(import.meta.dirname, "../../../..")
export const fixtures = join(repo, "fixtures")
export const pythonPackage = join(repo, "packages/plugins/src/trainer/python")
export const python = process.env["HYPER_PYTHON"]

/** True where the tests that need Python can run. Without it: a failure under CI, a printed reason elsewhere. */
export const pythonReady = (): boolean => {
  if (python !== undefined && existsSync(python)) return true
  if (process.env["CI"] === "true") throw new Error("HYPER_PYTHON must name a Python with packages/plugins/src/trainer/python/requirements.txt installed")
  process.stderr.write("skipped: HYPER_PYTHON does not name a Python that has the trainer's requirements\n")
  return false
}

export const baseConfig = {
  version: 1,
  method: "full",
  model: join(fixtures, "models/tiny-llama"),
  format: "chat",
  epochs: 1,
  learningRate: 1e-3,
  batchSize: 4,
  gradientAccumulation: 1,
  sequenceLength: 96,
  warmupSteps: 2,
  schedule: "cosine",
  weightDecay: 0.01,
  gradClip: 1,
  seed: 5,
  evalFraction: 0,
  checkpointEvery: 5,
  keepCheckpoints: 3,
  worldSize: 2,
  device: "cpu"
}

export const lines = (path: string): ReadonlyArray<string> => readFileSync(path, "utf8").split("\n").filter((line) => line !== "")
export const tickets = (): ReadonlyArray<string> => lines(join(fixtures, "data/tickets.jsonl"))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

export interface Job {
  readonly directory: string
  readonly checkpoints: string
  readonly results: string
  readonly leases: LeaseServer
  readonly config: Record<string, unknown>
  /** starts the launcher in its own process group; a later call is a new attempt on the same checkpoints */
  readonly launch: () => Running
  readonly samples: () => ReadonlyArray<Record<string, unknown>>
  /** the job's process group is gone, its socket closed, its folder removed */
  readonly dispose: () => Promise<void>
}

/** `segments[slot][k]` = the rows of that slot's k-th segment. */
export const makeJob = async (segments: ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>>, options: Record<string, unknown> = {}): Promise<Job> => {
  const directory = mkdtempSync(join(tmpdir(), "ht-"))
  const socket = join(directory, "lease.sock")
  let index = 0
  const sealed: Array<Array<{ index: number; file: SealedFile }>> = []
  const slots = segments.map((parts, slot) => {
    sealed.push([])
    return {
      slot,
      segments: parts.map((rows) => {
        const file = sealFile(Buffer.from(rows.map((row) => `${row}\n`).join("")))
        const path = join(directory, `segment-${index}.age`)
        writeFileSync(path, file.bytes)
        sealed[slot]?.push({ index, file })
        return { index: index++, path, rows: rows.filter((row) => row.trim() !== "").length }
      })
    }
  })
  const checkpoints = join(directory, "checkpoints")
  const results = join(directory, "results")
  const config: Record<string, unknown> = { ...baseConfig, worldSize: segments.length, slots, leaseSocket: socket, checkpointDirectory: checkpoints, resultDirectory: results, ...options }
  mkdirSync(checkpoints)
  writeFileSync(join(directory, "config.json"), JSON.stringify(config))
  const leases = leaseServer(socket, sealed)
  await leases.start()
  const groups = new Set<number>()
  return {
    directory,
    checkpoints,
    results,
    leases,
    config,
    launch: () => {
      const child = spawn(python ?? "python3", ["-m", "hyper_trainer.launch", "--config", join(directory, "config.json")], {
        cwd: directory,
        detached: true,
        env: { PATH: process.env["PATH"] ?? "", PYTHONPATH: pythonPackage, PYTHONDONTWRITEBYTECODE: "1", HYPER_TELEMETRY: join(directory, "telemetry.jsonl") }
      })
      if (child.pid !== undefined) groups.add(child.pid)
      let stdout = ""
      let stderr = ""
      child.stdout?.on("data", (piece) => (stdout += String(piece)))
      child.stderr?.on("data", (piece) => (stderr += String(piece)))
      child.stdin?.on("error", () => {})
      child.stdin?.end(JSON.stringify({ tokens: leases.tokens }))
      const ended = new Promise<Ended>((done, fail) => {
        child.once("error", fail)
        child.once("close", (code, signal) => done({ code, signal, stdout, stderr }))
      })
      return { child, ended }
    },
    samples: () => {
      const path = join(directory, "telemetry.jsonl")
      return existsSync(path) ? lines(path).map((line) => JSON.parse(line) as Record<string, unknown>) : []
    },
    dispose: async () => {
      for (const group of groups) {
        try {
          process.kill(-group, "SIGKILL")
        } catch {
          // already gone
        }
      }
      await leases.stop()
      rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    }
  }
}

/** Waits until `found` gives something, polling gently; fails when `ended` comes first. */
export const until = async <A>(found: () => A | undefined, running: Running): Promise<A> => {
  let over: Ended | undefined
  void running.ended.then((ended) => (over = ended))
  for (;;) {
    const value = found()
    if (value !== undefined) return value
    if (over !== undefined) throw new Error(`the job ended first: ${JSON.stringify(over)}`)
    await new Promise((done) => setTimeout(done, 25))
  }
}

/** Pids of the ranks, rank 0 first. */
export const ranksOf = (launcher: number): ReadonlyArray<number> =>
  readFileSync(`/proc/${launcher}/task/${launcher}/children`, "utf8").trim().split(" ").filter((pid) => pid !== "").map(Number)

export const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex")

/** name -> sha-256 of each file in a folder. */
export const digests = (folder: string): Record<string, string> => Object.fromEntries(readdirSync(folder).toSorted().map((name) => [name, sha256(join(folder, name))]))
