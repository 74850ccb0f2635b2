/** What the charts draw, from samples as a real run sends them. */
import { expect, it } from "vitest"
import { Series } from "../src/live/series.ts"

const sample = (rank: number, kind: "step" | "work", at: number, more: object) => ({ id: at, stepId: "train", node: "n", rank, kind, at, step: 1, ...more })

it("has no hole when a higher rank is the first to report its work", () => {
  const series = new Series()
  series.add(sample(1, "work", 1_000, { workMilliseconds: 500 }))
  series.add(sample(1, "work", 2_000, { workMilliseconds: 500 }))
  series.add(sample(0, "step", 2_100, { loss: 2 }))
  series.add(sample(0, "work", 3_100, { workMilliseconds: 900 }))
  expect(series.busy).toHaveLength(2)
  for (const column of [...series.busy, series.loss]) expect(column).toHaveLength(series.at.length)
  expect(series.busy[1]?.filter((v) => v !== undefined)).toEqual([0.5])
})
