/** Round places on a time or step axis, about one every 90 pixels. */
import { clock, clockMinute, count } from "../words/format.ts"

const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400].map((seconds) => seconds * 1000)

export interface Tick {
  readonly at: number
  readonly label: string
}

export const timeTicks = (from: number, to: number, pixels: number): ReadonlyArray<Tick> => {
  const wanted = (to - from) / Math.max(1, pixels / 90)
  const step = timeSteps.find((one) => one >= wanted) ?? timeSteps.at(-1)!
  const offset = new Date(from).getTimezoneOffset() * 60_000
  const ticks: Array<Tick> = []
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to && ticks.length < 40; at += step) ticks.push({ at, label: step < 60_000 ? clock(at) : clockMinute(at) })
  return ticks
}

export const stepTicks = (from: number, to: number, pixels: number): ReadonlyArray<Tick> => {
  const wanted = (to - from) / Math.max(1, pixels / 90)
  const power = 10 ** Math.floor(Math.log10(Math.max(1, wanted)))
  const step = Math.max(1, [1, 2, 5, 10].map((one) => one * power).find((one) => one >= wanted) ?? power)
  const ticks: Array<Tick> = []
  for (let at = Math.ceil(from / step) * step; at <= to && ticks.length < 40; at += step) ticks.push({ at, label: count(at) })
  return ticks
}
