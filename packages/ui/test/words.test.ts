import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { DeployForm } from "../../api/src/contract/DeployForm.ts"
import { Series } from "../src/live/series.ts"
import { checkField, parseForm, startFields } from "../src/pages/new/fields.ts"
import { bytes, dollars, duration, hyper, parameters, percent, rate } from "../src/words/format.ts"

describe("numbers as people read them", () => {
  it("money", () => {
    expect(["0", "1", "999999", "1000000", "30643000000", "100000000000", "1234567890123456789"].map(hyper)).toEqual(["0.000", "0.000", "0.000", "0.001", "30.643", "100", "1,234,567,890.123"])
    expect(hyper("-1500000000")).toBe("-1.500")
    expect([0, 0.0042, 0.99, 12.5].map(dollars)).toEqual(["$0.00", "$0.0042", "$0.99", "$12.50"])
  })
  it("times, sizes, shares", () => {
    expect([0, 13, 200, 6_000, 112_000, 5_400_000].map(duration)).toEqual(["0 s", "13 ms", "0.2 s", "6 s", "1 m 52 s", "1 h 30 m"])
    expect([999, 31_400_000, 13_800_000_000, 269_000_000].map(bytes)).toEqual(["999 B", "31.4 MB", "13.8 GB", "269 MB"])
    expect([percent(0.999), percent(0.61), rate(9.4e-5), rate(2e-4), parameters(2_360_000), parameters(134_515_008)]).toEqual(["99 %", "61 %", "9.4e-5", "2e-4", "2.4 M", "135 M"])
  })
})

describe("the form says what the server would say", () => {
  const decode = Schema.decodeUnknownResult(DeployForm)
  const good = { ...startFields, name: "a", model: "./m", dataset: "./d" }
  const cases: ReadonlyArray<readonly [keyof typeof good, string]> = [
    ["name", "a-b-1"], ["name", "-a"], ["name", "A"], ["name", ""], ["name", "a".repeat(64)], ["name", "a".repeat(65)],
    ["model", "org/name"], ["model", ""], ["dataset", ""],
    ["epochs", "0.5"], ["epochs", "0"], ["epochs", "1000"], ["epochs", "1001"],
    ["learningRate", "2e-4"], ["learningRate", "1.5"], ["learningRate", "0"],
    ["workers", "1"], ["workers", "64"], ["workers", "65"], ["workers", "1.5"], ["workers", "0"],
    ["pool", "100"], ["pool", "0.5"], ["pool", "1.0000000001"], ["pool", "-1"], ["pool", ""]
  ]
  for (const [name, value] of cases) {
    it(`${name} = ${JSON.stringify(value.slice(0, 20))}`, () => {
      const fields = { ...good, [name]: value }
      const error = checkField(fields)[name]
      const answer = decode(parseForm(fields))
      expect(error === undefined).toBe(answer._tag === "Success")
      if (answer._tag === "Failure" && value !== "") expect(String(answer.failure)).toContain(error!)
    })
  }
  it("text that is no number never passes as a default", () => {
    for (const text of ["many", "1e", "0x10", "", "1,000", "Infinity"]) expect(checkField({ ...good, epochs: text }).epochs, text).toBeDefined()
  })
})

describe("series", () => {
  const row = (id: number, step: number, more: object = {}) => ({ id, at: 1_000 * id, rank: 0, kind: "step" as const, step, loss: 2, stepId: "train", node: "n", ...more })
  it("leaves a gap where training resumed, and counts what runs again", () => {
    const series = new Series()
    for (const step of [1, 2, 3, 4, 5]) series.add(row(step, step))
    series.add({ id: 6, at: 20_000, rank: 0, kind: "phase", step: 3, text: "resumed", stepId: "train", node: "n" })
    series.add(row(21, 4))
    expect(series.resumes).toEqual([{ from: 5_000, to: 20_000, step: 3, again: 2 }])
    expect(series.loss.filter((cell) => cell === null)).toHaveLength(1)
  })
  it("sees a resume even where nobody said so, and keeps time moving forwards", () => {
    const series = new Series()
    for (const step of [1, 2, 3]) series.add(row(step, step))
    series.add(row(2, 2))
    expect(series.resumes).toMatchObject([{ step: 1, again: 2 }])
    expect(series.at.every((at, i) => i === 0 || at >= series.at[i - 1]!)).toBe(true)
  })
  it("adds up ranks, and takes the time between two attempts for nobody's idleness", () => {
    const series = new Series()
    for (const step of [1, 2]) for (const rank of [0, 1]) series.add({ ...row(step * 2 + rank, step, { rank, tokensPerSecond: 100 + rank, workMilliseconds: 1_000 }) })
    expect(series.tokensPerSecond.filter((cell) => typeof cell === "number")).toEqual([201])
    expect(series.busy[0]!.filter((cell) => typeof cell === "number")).toEqual([0.5])
  })
})

describe("contrast, from the tokens", () => {
  const css = readFileSync(join(import.meta.dirname, "../src/tokens.css"), "utf8")
  const theme = (selector: string): Record<string, string> => {
    const block = css.slice(css.indexOf(selector), css.indexOf("}", css.indexOf(selector)))
    return Object.fromEntries([...block.matchAll(/--(\w+):\s*(#[0-9A-Fa-f]{6})\b/g)].map(([, name, value]) => [name!, value!]))
  }
  const luminance = (hex: string): number => {
    const [r, g, b] = [1, 3, 5].map((i) => {
      const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
    }) as [number, number, number]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const contrast = (a: string, b: string): number => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number]
    return (x + 0.05) / (y + 0.05)
  }
  for (const [name, selector] of [["light", ":root"], ["dark", `[data-theme="dark"]`]] as const) {
    it(name, () => {
      const t = theme(selector)
      const grounds = ["paper", "sheet", "sunk"].map((ground) => t[ground]!)
      const worst = (token: string) => Math.min(...grounds.map((ground) => contrast(t[token]!, ground)))
      for (const token of ["ink", "ink2", "ink3", "live", "warn", "bad", "d2", "d3", "d4"]) expect(worst(token), token).toBeGreaterThanOrEqual(4.5)
      expect(worst("edge"), "edge").toBeGreaterThanOrEqual(3)
      for (const [text, ground] of [["live", "soft"], ["warn", "warnsoft"], ["bad", "badsoft"], ["onlive", "live"], ["ink", "pick"], ["ink2", "pick"], ["ink", "badsoft"], ["ink", "warnsoft"], ["ink2", "soft"]] as const) {
        expect(contrast(t[text]!, t[ground]!), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5)
      }
    })
  }
  it("the check sees a colour that is too pale", () => expect(contrast("#B9B4A8", "#F6F5F1")).toBeLessThan(4.5))
})
