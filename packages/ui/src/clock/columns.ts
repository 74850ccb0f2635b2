/** The columns that the charts draw, over time or over steps. */
import type { Cell, Series } from "../live/series.ts"

export type Axis = "time" | "step"

export interface Columns {
  /** epoch milliseconds, or steps */
  readonly x: ReadonlyArray<number>
  readonly loss: ReadonlyArray<Cell>
  readonly smooth: ReadonlyArray<Cell>
  readonly evalLoss: ReadonlyArray<Cell>
  readonly learningRate: ReadonlyArray<Cell>
  readonly tokens: ReadonlyArray<Cell>
  /** by slot */
  readonly busy: ReadonlyArray<ReadonlyArray<Cell>>
}

export const columnsOf = (series: Series, axis: Axis): Columns => {
  const { at, busy, evalLoss, learningRate, loss, smooth, step, tokensPerSecond } = series
  if (axis === "time") return { x: at, loss, smooth, evalLoss, learningRate, tokens: tokensPerSecond, busy }
  // A step that ran again is shown as it ended.
  const rows = new Map<number, number>()
  step.forEach((one, row) => {
    if (loss[row] !== null) rows.set(one, row)
  })
  const order = [...rows.entries()].sort(([a], [b]) => a - b)
  const pick = (column: ReadonlyArray<Cell>) => order.map(([, row]) => column[row])
  return { x: order.map(([one]) => one), loss: pick(loss), smooth: pick(smooth), evalLoss: pick(evalLoss), learningRate: pick(learningRate), tokens: pick(tokensPerSecond), busy: busy.map(pick) }
}

/** The value next to a place on the axis, and its own place; undefined in a gap. */
export const nearest = (xs: ReadonlyArray<number>, values: ReadonlyArray<Cell>, where: number): { readonly value: number; readonly x: number } | undefined => {
  let low = 0
  let high = xs.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (xs[middle]! < where) low = middle + 1
    else high = middle
  }
  for (let reach = 0; reach < 40; reach++) {
    for (const i of [low - reach, low + reach]) {
      const value = values[i]
      if (value === null) return undefined
      if (value !== undefined) return { value, x: xs[i]! }
    }
  }
  return undefined
}
