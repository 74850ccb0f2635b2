/**
 * Follows `telemetry.jsonl` and seals what is new into signed, chained batches. The lines come from a confined process: only the known
 * fields pass, in their types, so that nothing else is ever signed or sent on.
 */
import { appendFileSync, closeSync, fstatSync, openSync, readSync, truncateSync } from "node:fs"
import { GENESIS, makeBatch, nodeIdOf, type Signer, signerOf } from "../telemetry/batch.ts"
import type { Sample } from "../telemetry/Sample.ts"

const LINE_LIMIT = 8192
const BATCH_LIMIT = 500

const KINDS: ReadonlySet<unknown> = new Set(["step", "eval", "checkpoint", "phase", "work"])
const INTEGERS = ["at", "rank", "step", "totalSteps", "tokens", "workMilliseconds", "memoryBytes"] as const
const NUMBERS = ["epoch", "loss", "evalLoss", "learningRate", "gradNorm", "tokensPerSecond"] as const

/** Undefined where the line is not a sample. Unknown fields are left out. */
export const sampleOf = (line: string): Sample | undefined => {
  let value: Record<string, unknown>
  try {
    value = JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
  if (value === null || typeof value !== "object" || !KINDS.has(value["kind"])) return undefined
  const sample: Record<string, unknown> = { kind: value["kind"] }
  for (const name of INTEGERS) if (Number.isSafeInteger(value[name])) sample[name] = value[name]
  for (const name of NUMBERS) if (typeof value[name] === "number" && Number.isFinite(value[name])) sample[name] = value[name]
  // names and paths only: free text could carry what was trained on
  if (typeof value["text"] === "string" && /^[\w .,/:+=-]{1,200}$/.test(value["text"])) sample["text"] = value["text"]
  return sample["at"] === undefined || sample["rank"] === undefined || sample["step"] === undefined ? undefined : (sample as unknown as Sample)
}

export class TelemetryTail {
  readonly #from: string
  readonly #to: string
  readonly #job: string
  readonly #node: string
  readonly #sign: Signer
  #offset = 0
  #rest = ""
  #pending: Array<Sample> = []
  #sequence = 0
  #previous = GENESIS
  #written = 0
  /** lines that were not samples */
  refused = 0

  constructor(options: { readonly from: string; readonly to: string; readonly job: string; readonly nodeKey: string }) {
    this.#from = options.from
    this.#to = options.to
    this.#job = options.job
    this.#node = nodeIdOf(options.nodeKey)
    this.#sign = signerOf(options.nodeKey)
  }

  #read(): void {
    let file: number
    try {
      file = openSync(this.#from, "r")
    } catch {
      return // no line yet
    }
    try {
      const size = fstatSync(file).size
      const chunk = Buffer.alloc(1 << 16)
      while (this.#offset < size) {
        const count = readSync(file, chunk, 0, Math.min(chunk.length, size - this.#offset), this.#offset)
        if (count === 0) break
        this.#offset += count
        const lines = (this.#rest + chunk.toString("latin1", 0, count)).split("\n")
        this.#rest = lines.pop()!.slice(0, LINE_LIMIT + 1)
        for (const line of lines) {
          if (line.trim() === "") continue
          const sample = line.length > LINE_LIMIT ? undefined : sampleOf(Buffer.from(line, "latin1").toString("utf8"))
          if (sample === undefined) this.refused++
          else this.#pending.push(sample)
        }
      }
    } finally {
      closeSync(file)
    }
  }

  /** Seals all that is new. What could not be written (a full disk) is kept for the next call; the error says why. */
  flush(): Error | undefined {
    this.#read()
    while (this.#pending.length > 0) {
      const samples = this.#pending.slice(0, BATCH_LIMIT)
      const batch = makeBatch({ job: this.#job, node: this.#node, sequence: this.#sequence, previous: this.#previous, samples }, this.#sign)
      const line = `${JSON.stringify(batch)}\n`
      try {
        appendFileSync(this.#to, line, { mode: 0o600 })
      } catch (error) {
        try {
          truncateSync(this.#to, this.#written) // half a line must not stay
        } catch {
          // nothing was written
        }
        return error as Error
      }
      this.#written += Buffer.byteLength(line)
      this.#sequence++
      this.#previous = batch.digest
      this.#pending.splice(0, samples.length)
    }
    return undefined
  }
}
