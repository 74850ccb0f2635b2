/** uPlot, styled through its options and the canvas only, so that the page's strict content policy holds. Loaded when a run has samples. */
import uPlot from "uplot"
import "uplot/dist/uPlot.min.css"
import type { Cell } from "../live/series.ts"

export interface Curve {
  readonly values: ReadonlyArray<Cell>
  readonly colour: string
  readonly width: number
  readonly dash?: ReadonlyArray<number>
  readonly alpha?: number
  /** evaluations are checkpoints: squares, joined over what lies between */
  readonly squares?: boolean
}

export interface PlotSpec {
  readonly height: number
  readonly x: ReadonlyArray<number>
  readonly range: readonly [number, number]
  readonly curves: ReadonlyArray<Curve>
  /** from zero for rates and shares, from the data for loss */
  readonly fromZero: boolean
  readonly ceiling?: number
  readonly tick: (value: number) => string
  readonly left: number
  readonly right: number
}

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

const colour = (name: string, alpha = 1): string => {
  const hex = css(name)
  return alpha === 1 ? hex : `${hex}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`
}

const spread = (spec: PlotSpec, min: number, max: number): [number, number] => {
  if (!Number.isFinite(min) || !Number.isFinite(max)) return [0, 1]
  if (spec.ceiling !== undefined) return [0, spec.ceiling]
  if (spec.fromZero) return [0, max <= 0 ? 1 : max * 1.15]
  const pad = Math.max((max - min) * 0.08, Math.abs(max) * 0.01, 1e-9)
  return [min - pad, max + pad]
}

export interface Plot {
  readonly update: (spec: PlotSpec) => void
  /** pixel of a value, from the plot's top */
  readonly y: (value: number) => number
  readonly destroy: () => void
}

export const makePlot = (box: HTMLElement, width: number, first: PlotSpec, drew: () => void): Plot => {
  let spec = first
  const chart = new uPlot(
    {
      width,
      height: spec.height,
      padding: [6, spec.right, 6, 0],
      hooks: { draw: [drew] },
      cursor: { show: false },
      legend: { show: false },
      select: { show: false, left: 0, top: 0, width: 0, height: 0 },
      scales: { x: { time: false, auto: false, range: () => [spec.range[0], spec.range[1]] }, y: { range: (_, min, max) => spread(spec, min, max) } },
      axes: [
        { show: false },
        {
          show: true,
          size: spec.left,
          gap: 8,
          font: `11px ${css("--sans")}`,
          stroke: () => colour("--ink3"),
          grid: { stroke: () => colour("--line"), width: 1 },
          ticks: { show: false },
          space: spec.height < 70 ? 26 : 30,
          values: (_, splits) => (spec.left === 0 || spec.x.length === 0 ? splits.map(() => "") : splits.map(spec.tick))
        }
      ],
      series: [
        {},
        ...spec.curves.map((curve) => ({
          stroke: () => colour(curve.colour, curve.alpha),
          width: curve.width,
          ...(curve.dash === undefined ? {} : { dash: [...curve.dash] }),
          spanGaps: curve.squares === true,
          points: curve.squares === true ? { show: true, size: 7, width: 1.5, fill: () => colour("--paper"), stroke: () => colour(curve.colour), paths: squares } : { show: false }
        }))
      ]
    },
    data(spec),
    box
  )
  return {
    update: (next) => {
      spec = next
      chart.batch(() => chart.setData(data(spec), true))
    },
    y: (value) => chart.valToPos(value, "y") + chart.bbox.top / devicePixelRatio,
    destroy: () => chart.destroy()
  }
}

const data = (spec: PlotSpec): uPlot.AlignedData => [spec.x as Array<number>, ...spec.curves.map((curve) => curve.values as Array<number | null | undefined>)] as uPlot.AlignedData

const squares: uPlot.Series.Points.PathBuilder = (chart, index, from, to) => {
  const size = 6 * devicePixelRatio
  const stroke = new Path2D()
  const xs = chart.data[0]
  const ys = chart.data[index]!
  for (let i = from; i <= to; i++) {
    const value = ys[i]
    if (typeof value !== "number") continue
    stroke.rect(chart.valToPos(xs[i]!, "x", true) - size / 2, chart.valToPos(value, "y", true) - size / 2, size, size)
  }
  return { stroke, fill: stroke }
}
