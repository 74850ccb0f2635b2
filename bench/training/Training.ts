/** One training that goes on for as long as it is let: how far it is, and its turns. */
import { setTimeout as delay } from "node:timers/promises"
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { Processes } from "./Processes.ts"

/** What one turn did, in its steady part. */
export interface Turn {
  readonly steps: number
  /** wall */
  readonly seconds: number
  /** of all its processes together */
  readonly processorSeconds: number
}

interface Line {
  readonly at: number
  readonly kind: string
  readonly step: number
  readonly tokens?: number
}

/** After a stop, caches are cold: these milliseconds do not count. */
const settleMillis = 300
/** The turn goes on for this long after what is measured, so that a progress line (five a second) comes after it. */
const tailMillis = 400

export class Training {
  readonly #processes: Processes
  readonly #others: () => number
  readonly #telemetry: string
  #offset = 0
  #partial = ""
  readonly #progress: Array<{ readonly at: number; readonly step: number }> = []
  #tokens = 0
  #counted = 0

  /** `telemetry`: the trainer's own lines. `others`: processor seconds so far that are spent on this training elsewhere. */
  constructor(processes: Processes, telemetry: string, others: () => number) {
    this.#processes = processes
    this.#telemetry = telemetry
    this.#others = others
  }

  /** Mean over the steps so far, of all ranks together. */
  get tokensPerStep(): number {
    return this.#tokens / this.#counted
  }

  /** So far, of all its processes and what is spent on it elsewhere. */
  get processorSeconds(): number {
    return this.#processes.seconds() + this.#others()
  }

  stop(): void {
    this.#processes.signal("SIGSTOP")
  }

  go(): void {
    this.#processes.signal("SIGCONT")
  }

  /** Lets it run for `millis` and a little more, while every other training stands still. */
  async turn(millis: number): Promise<Turn> {
    this.go()
    await delay(settleMillis)
    const from = { at: Date.now(), processor: this.#processes.seconds() + this.#others() }
    await delay(millis)
    const to = { at: Date.now(), processor: this.#processes.seconds() + this.#others() }
    await delay(tailMillis)
    this.stop()
    this.#read()
    return { steps: this.#stepAt(to.at) - this.#stepAt(from.at), seconds: (to.at - from.at) / 1000, processorSeconds: to.processor - from.processor }
  }

  /** Between two progress lines, steps are taken to pass evenly. */
  #stepAt(at: number): number {
    const after = this.#progress.findIndex((line) => line.at >= at)
    const right = this.#progress[after]
    const left = this.#progress[after - 1]
    if (left === undefined || right === undefined) throw new Error(`${this.#telemetry} has no progress around a turn: the training has ended, or its steps take longer than a turn`)
    return left.step + ((right.step - left.step) * (at - left.at)) / (right.at - left.at)
  }

  #read(): void {
    const file = openSync(this.#telemetry, "r")
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - this.#offset)
      this.#offset += readSync(file, bytes, 0, bytes.length, this.#offset)
      const lines = (this.#partial + bytes.toString()).split("\n")
      this.#partial = lines.pop()!
      for (const text of lines) {
        const line = JSON.parse(text) as Line
        if (line.kind === "step") this.#progress.push(line)
        if (line.kind === "work") {
          this.#tokens += line.tokens ?? 0
          this.#counted = Math.max(this.#counted, line.step)
        }
      }
    } finally {
      closeSync(file)
    }
  }
}
