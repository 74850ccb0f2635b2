/**
 * Samples as columns for the charts, appended to and never rebuilt. A pause between attempts, or a step that runs again, leaves a gap:
 * a line joins only what was measured one after the other.
 */
import type { SampleRow } from "@hypernode/api/types"

/** `null` is a gap in the line, `undefined` a place where this series has nothing to say. */
export type Cell = number | null | undefined

export interface Checkpoint {
  readonly step: number
  readonly at: number
}

export interface Resume {
  /** end of the attempt before, start of the one after: epoch milliseconds */
  readonly from: number
  readonly to: number
  readonly step: number
  /** steps that run again */
  readonly again: number
}

const SMOOTHING = 0.9

export class Series {
  /** epoch milliseconds */
  readonly at: Array<number> = []
  readonly step: Array<number> = []
  readonly loss: Array<Cell> = []
  readonly smooth: Array<Cell> = []
  readonly evalLoss: Array<Cell> = []
  readonly learningRate: Array<Cell> = []
  readonly tokensPerSecond: Array<Cell> = []
  /** share of the time since the rank's last sample that its device was busy, by rank */
  readonly busy: Array<Array<Cell>> = []
  readonly checkpoints: Array<Checkpoint> = []
  readonly resumes: Array<Resume> = []
  /** eval loss by step */
  readonly evaluations = new Map<number, number>()
  readonly ranks = new Map<number, { node: string; memoryBytes: number | undefined; at: number; tokensPerSecond: number }>()
  totalSteps: number | undefined
  tokens = 0
  #ema: number | undefined
  #lastAt = 0
  #lastStep = -1

  #row(at: number, step: number): number {
    this.at.push(at)
    this.step.push(step)
    for (const column of [this.loss, this.smooth, this.evalLoss, this.learningRate, this.tokensPerSecond, ...this.busy]) column.push(undefined)
    return this.at.length - 1
  }

  #gap(at: number, step: number): void {
    const row = this.#row(at, step)
    for (const column of [this.loss, this.smooth, this.learningRate, this.tokensPerSecond, ...this.busy]) column[row] = null
    this.#ema = undefined
    // What lies between two attempts is nobody's idle time.
    this.ranks.clear()
  }

  add(sample: SampleRow): void {
    const { rank } = sample
    const known = this.ranks.get(rank)
    if (sample.totalSteps !== undefined) this.totalSteps = sample.totalSteps
    if (sample.kind === "checkpoint" && rank === 0) {
      if (!this.checkpoints.some((one) => one.step === sample.step)) this.checkpoints.push({ step: sample.step, at: sample.at })
    }
    // The chart's clock only moves forwards; ranks report a little out of order.
    let at = Math.max(sample.at, this.#lastAt)
    const again = rank === 0 && sample.kind === "step" && this.#lastStep >= 0 && sample.step <= this.#lastStep
    if (again || (rank === 0 && sample.kind === "phase" && sample.text === "resumed" && this.#lastStep >= 0)) {
      const from = this.at.at(-1) ?? at
      if (!this.resumes.some((one) => one.to >= from)) this.resumes.push({ from, to: at, step: again ? sample.step - 1 : sample.step, again: Math.max(0, this.#lastStep - (again ? sample.step - 1 : sample.step)) })
      this.#gap(from + 1, sample.step)
      this.#lastStep = -1
      at = this.#lastAt = Math.max(at, from + 1)
      if (!again) return
    }
    if (sample.evalLoss !== undefined) this.evaluations.set(sample.step, sample.evalLoss)
    if (sample.kind === "phase" || sample.kind === "checkpoint") return
    const last = this.at.length - 1
    const row = last >= 0 && this.at[last] === at && this.step[last] === sample.step ? last : this.#row(at, sample.step)
    this.#lastAt = at
    if (rank === 0 && sample.kind === "step") this.#lastStep = sample.step
    if (sample.evalLoss !== undefined) this.evalLoss[row] = sample.evalLoss
    if (rank === 0) {
      if (sample.loss !== undefined) {
        this.#ema = this.#ema === undefined ? sample.loss : SMOOTHING * this.#ema + (1 - SMOOTHING) * sample.loss
        this.loss[row] = sample.loss
        this.smooth[row] = this.#ema
      }
      if (sample.learningRate !== undefined) this.learningRate[row] = sample.learningRate
    }
    if (sample.tokens !== undefined) this.tokens += sample.tokens
    if (sample.workMilliseconds !== undefined && known !== undefined && sample.at > known.at) {
      // any rank may be the first to report: a column for each below it too, so that there is no hole
      while (this.busy.length <= rank) this.busy.push(this.at.map(() => undefined))
      const column = this.busy[rank] as Array<Cell>
      column[row] = Math.min(1, sample.workMilliseconds / (sample.at - known.at))
    }
    this.ranks.set(rank, { node: sample.node, memoryBytes: sample.memoryBytes ?? known?.memoryBytes, at: sample.at, tokensPerSecond: sample.tokensPerSecond ?? known?.tokensPerSecond ?? 0 })
    // From the second round on: before it, not every rank has spoken.
    if (sample.tokensPerSecond !== undefined && rank === 0 && known !== undefined) {
      let sum = 0
      for (const one of this.ranks.values()) sum += one.tokensPerSecond
      this.tokensPerSecond[row] = sum
    }
  }
}

export const lastOf = (column: ReadonlyArray<Cell>): number | undefined => {
  for (let i = column.length - 1; i >= 0; i--) if (typeof column[i] === "number") return column[i] as number
  return undefined
}
