/** The charts under the stages: what each draws, and the words for it. */
import { type Cell, lastOf } from "../live/series.ts"
import { count, loss, percent, rate } from "../words/format.ts"
import type { Columns } from "./columns.ts"
import type { Curve } from "./plot.ts"

export interface Panel {
  readonly name: string
  readonly unit: string
  /** pixels */
  readonly height: number
  readonly curves: ReadonlyArray<Curve>
  readonly fromZero: boolean
  readonly ceiling?: number
  readonly tick: (value: number) => string
  /** the last value of each line, written at its end */
  readonly ends: ReadonlyArray<{ readonly value: number; readonly text: string; readonly name: string; readonly colour: string }>
  readonly sentence: string
  /** what the cursor reads */
  readonly read: { readonly values: ReadonlyArray<Cell>; readonly text: (value: number) => string; readonly colour: string } | undefined
}

/** Lines of one slot each; more would not be told apart. */
const SLOTS = ["--d3", "--d4", "--d2", "--ink2"] as const

const end = (column: ReadonlyArray<Cell>, text: (value: number) => string, name: string, colour: string) => {
  const value = lastOf(column)
  return value === undefined ? [] : [{ value, text: text(value), name, colour: `var(${colour})` }]
}
const firstOf = (column: ReadonlyArray<Cell>): number | undefined => column.find((cell): cell is number => typeof cell === "number")

const lossPanel = ({ evalLoss, loss: raw, smooth, x }: Columns): Panel => {
  const [from, to] = [firstOf(smooth), lastOf(smooth)]
  return {
    name: "Loss",
    unit: "smoothed 0.9",
    height: 150,
    fromZero: false,
    tick: (value) => (Math.abs(value) < 10 ? value.toFixed(value < 1 ? 2 : 1) : value.toFixed(0)),
    curves: [
      { values: raw, colour: "--live", width: 1, alpha: 0.34 },
      { values: smooth, colour: "--live", width: 2 },
      { values: evalLoss, colour: "--d2", width: 1.25, dash: [4, 3], squares: true }
    ],
    ends: [...end(evalLoss, loss, "eval", "--d2"), ...end(smooth, loss, "train", "--live")],
    sentence: from === undefined || to === undefined ? "Training loss: no samples yet" : `Training loss ${to < from ? "fell" : "went"} from ${loss(from)} to ${loss(to)} over ${count(x.length)} samples`,
    read: { values: smooth, text: loss, colour: "var(--live)" }
  }
}

const linePanel = (name: string, sentence: string, values: ReadonlyArray<Cell>, text: (value: number) => string, width: number): Panel => ({
  name,
  unit: "",
  height: 60,
  fromZero: true,
  tick: text,
  curves: [{ values, colour: "--ink2", width }],
  ends: end(values, text, "", "--ink2"),
  sentence: `${sentence}, now ${text(lastOf(values) ?? 0)}`,
  read: { values, text, colour: "var(--ink2)" }
})

const busyPanel = (busy: ReadonlyArray<ReadonlyArray<Cell>>): Panel => {
  const shown = SLOTS.flatMap((colour, slot) => (busy[slot] === undefined ? [] : [{ colour, slot, values: busy[slot] }]))
  return {
    name: "Device busy",
    unit: "",
    height: 78,
    fromZero: true,
    ceiling: 1.05,
    tick: (value) => (value > 1 ? "" : percent(value)),
    curves: shown.map(({ colour, slot, values }): Curve => ({ values, colour, width: 1.5, ...(slot % 2 === 1 ? { dash: [5, 2] } : {}) })),
    ends: shown.flatMap(({ colour, slot, values }) => end(values, percent, `slot ${slot}`, colour)),
    sentence: `Share of time each slot's device was busy: ${shown.map(({ slot, values }) => `slot ${slot} ${percent(lastOf(values) ?? 0)}`).join(", ")}`,
    read: undefined
  }
}

export const panelsOf = (columns: Columns): ReadonlyArray<Panel> => [
  lossPanel(columns),
  linePanel("Learning rate", "Learning rate", columns.learningRate, rate, 1.5),
  linePanel("Tokens/s", "Tokens a second", columns.tokens, count, 1.25),
  ...(columns.busy.length === 0 ? [] : [busyPanel(columns.busy)])
]

/** Pixels at which the ends of lines are written: moved apart where they would overlap, and up where they would leave the panel. */
export const endsApart = (panel: Panel, y: (value: number) => number) => {
  const ordered = panel.ends.map((one) => ({ ...one, y: y(one.value) })).sort((a, b) => a.y - b.y)
  for (let k = 1; k < ordered.length; k++) if (ordered[k]!.y - ordered[k - 1]!.y < 17) ordered[k]!.y = ordered[k - 1]!.y + 17
  const over = (ordered.at(-1)?.y ?? 0) - (panel.height - 8)
  return ordered.map((one) => ({ ...one, y: over > 0 ? one.y - over : one.y }))
}
