import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { AmountFault, formatAmount, formatExact, parseAmount } from "../../src/rewards/amount.ts"
import { costOf, formatDollars } from "../../src/rewards/cost.ts"
import { MAX_LATENCY, type NodeEvidence, type Work } from "../../src/rewards/Evidence.ts"
import { lengthOfUnion } from "../../src/rewards/intervals.ts"
import { largestRemainder } from "../../src/rewards/largestRemainder.ts"
import { allocate, policies, policyIds } from "../../src/rewards/policy.ts"

const node = (name: string, work: ReadonlyArray<Work>): NodeEvidence => ({
  node: name,
  work,
  workMilliseconds: work.reduce((sum, { interval }) => sum + interval.end - interval.begin, 0),
  presenceMilliseconds: lengthOfUnion(work.map(({ interval }) => interval)),
  accepted: work.length,
  rejected: [],
  batches: []
})
const piece = fc.record({
  job: fc.constantFrom("j1", "j2"),
  deviceClass: fc.constantFrom("cpu", "unknown", "NVIDIA H200"),
  interval: fc.tuple(fc.nat(100_000), fc.integer({ min: 1, max: 5_000 })).map(([begin, length]) => ({ begin, end: begin + length })),
  tokens: fc.nat(100_000),
  latency: fc.integer({ min: 0, max: MAX_LATENCY })
})
const fleet = fc.array(fc.array(piece, { maxLength: 6 }), { minLength: 1, maxLength: 8 }).map((all) => all.map((work, i) => node(`n${i}`, work)))
const pool = fc.bigInt({ min: 0n, max: 10n ** 20n })
const total = (shares: ReadonlyArray<{ readonly units: bigint }>) => shares.reduce((sum, { units }) => sum + units, 0n)

describe.each(policyIds)("%s", (id) => {
  const policy = policies[id]
  it("has weights that add up to one", () => {
    expect(policy.terms.reduce((sum, { weight }) => sum + weight, 0)).toBe(100)
  })
  it("conserves the pool to the unit; a pool without work returns", () => {
    fc.assert(fc.property(pool, fleet, (units, nodes) => {
      const { accrued, returned, shares } = allocate(policy, units, nodes)
      expect(total(shares)).toBe(accrued)
      expect(accrued + returned).toBe(units)
      expect(returned === 0n || nodes.every(({ work }) => work.length === 0)).toBe(true)
      for (const share of shares) expect(total(share.terms)).toBe(share.units)
    }))
  })
  it("pays nothing for no work", () => {
    fc.assert(fc.property(pool, fleet, (units, nodes) => {
      const { shares } = allocate(policy, units, [...nodes, node("idle", [])])
      expect(shares.find((share) => share.node === "idle")?.units).toBe(0n)
    }))
  })
  it("does not look at the order", () => {
    fc.assert(fc.property(pool, fleet.chain((nodes) => fc.tuple(fc.constant(nodes), fc.shuffledSubarray(nodes, { minLength: nodes.length }))), (units, [nodes, shuffled]) => {
      expect(allocate(policy, units, shuffled)).toEqual(allocate(policy, units, nodes))
    }))
  })
  it("gains a machine at most one unit an identity when it splits", () => {
    const scenario = fc.tuple(pool, fleet, fc.array(fc.tuple(piece, fc.nat(4)), { minLength: 1, maxLength: 12 }), fc.constantFrom("a", "m", "z"))
    fc.assert(fc.property(scenario, ([units, others, mine, prefix]) => {
      const whole = total(allocate(policy, units, [...others, node(`${prefix}0`, mine.map(([work]) => work))]).shares.filter((share) => share.node.startsWith(prefix)))
      const parts = [0, 1, 2, 3, 4].map((k) => node(`${prefix}${k}`, mine.filter(([, owner]) => owner === k).map(([work]) => work)))
      const split = total(allocate(policy, units, [...others, ...parts]).shares.filter((share) => share.node.startsWith(prefix)))
      expect(split <= whole + BigInt(parts.length)).toBe(true)
    }), { numRuns: 300 })
  })
})

describe("the published formula, as it was published", () => {
  interface Simple { readonly gpu: number; readonly tokens: number; readonly up: number; readonly latency: number }
  const published = (nodes: ReadonlyArray<Simple>): ReadonlyArray<number> => {
    const all = (of: (n: Simple) => number) => nodes.reduce((sum, n) => sum + of(n), 0)
    const slowest = Math.max(...nodes.map((n) => n.latency))
    return nodes.map((n) => 0.5 * (n.gpu / all((m) => m.gpu)) + 0.25 * (n.tokens / all((m) => m.tokens)) + 0.15 * (n.up / all((m) => m.up)) + 0.1 * (1 - n.latency / slowest))
  }
  const equal = (n: number): ReadonlyArray<Simple> => Array.from({ length: n }, (_, i) => ({ gpu: 1, tokens: 1, up: 1, latency: i === n - 1 ? 200 : 20 }))
  const work = (latency: number, length = 1_000, begin = 0): Work => ({ job: "j", deviceClass: "NVIDIA H200", interval: { begin, end: begin + length }, tokens: length, latency })

  it.each([[1, 0.9], [2, 0.99], [4, 1.17], [8, 1.53], [16, 2.25], [32, 3.69]])("pays %d nodes %d pools; ours pays one", (n, pools) => {
    expect(published(equal(n)).reduce((sum, share) => sum + share, 0)).toBeCloseTo(pools, 6)
    const { accrued, shares } = allocate(policies["hypernode-v1"], 10n ** 11n, equal(n).map(({ latency }, i) => node(`n${i}`, [work(latency)])))
    expect([accrued, total(shares)]).toEqual([10n ** 11n, 10n ** 11n])
  })
  it("pays an attacker for splitting; ours does not", () => {
    // attacker's hardware in k identities, one honest node, and a very slow one that makes L/Lmax small
    const attack = (k: number) => [...Array.from({ length: k }, () => ({ gpu: 1 / k, tokens: 1 / k, up: 1, latency: 20 })), { gpu: 1, tokens: 1, up: 1, latency: 20 }, { gpu: 1e-9, tokens: 1e-9, up: 1, latency: 1e6 }]
    const takes = [1, 2, 4, 8].map((k) => published(attack(k)).slice(0, k).reduce((sum, share) => sum + share, 0))
    expect(takes).toEqual(takes.toSorted((a, b) => a - b))
    expect(takes[3]! / takes[0]!).toBeGreaterThan(2)
    const ours = [1, 2, 4, 8].map((k) => {
      const mine = Array.from({ length: k }, (_, i) => node(`a${i}`, [work(20, 1_000 / k, (i * 1_000) / k)]))
      const { shares } = allocate(policies["hypernode-v1"], 10n ** 11n, [...mine, node("honest", [work(20)]), node("slow", [work(60_000, 1)])])
      return total(shares.filter((share) => share.node.startsWith("a")))
    })
    for (const [i, k] of [1n, 2n, 4n, 8n].entries()) expect(ours[i]! <= ours[0]! + k).toBe(true)
  })
  it("lets a slow stranger lift somebody; ours does not", () => {
    const low = { gpu: 1, tokens: 1, up: 1, latency: 100 }
    const high = { gpu: 1, tokens: 1, up: 1, latency: 20 }
    const shareOfLow = (nodes: ReadonlyArray<Simple>) => published(nodes)[0]! / published(nodes).reduce((a, b) => a + b)
    const dust = { gpu: 1e-9, tokens: 1e-9, up: 1e-9, latency: 1e6 }
    expect(shareOfLow([low, high, dust])).toBeGreaterThan(shareOfLow([low, high]))
    const ours = (nodes: ReadonlyArray<NodeEvidence>) => allocate(policies["hypernode-v1"], 10n ** 9n, nodes).shares.find((share) => share.node === "low")!.units
    const nodes = [node("low", [work(100)]), node("high", [work(20)])]
    expect(ours([...nodes, node("dust", [work(MAX_LATENCY, 1)])]) <= ours(nodes)).toBe(true)
  })
})

it("catches a term that counts identities: a planted policy", () => {
  const perIdentity = { id: "planted", formula: "", terms: [...policies["hypernode-v1"].terms.slice(0, 2), { name: "uptime", weight: 25, of: (n: NodeEvidence) => BigInt(n.presenceMilliseconds) }] }
  const work = (begin: number): Work => ({ job: "j", deviceClass: "cpu", interval: { begin, end: begin + 1_000 }, tokens: 10, latency: 0 })
  const honest = node("h", [work(0), work(0), work(0), work(0)])
  const take = (nodes: ReadonlyArray<NodeEvidence>) => total(allocate(perIdentity, 10n ** 9n, [honest, ...nodes]).shares.filter((share) => share.node !== "h"))
  expect(take([0, 1, 2, 3].map((k) => node(`a${k}`, [work(0)]))) > take([node("a0", [work(0), work(0), work(0), work(0)])]) + 4n).toBe(true)
})

describe("largestRemainder", () => {
  it("differs from the quota by less than a unit", () => {
    fc.assert(fc.property(pool, fc.array(fc.bigInt({ min: 0n, max: 10n ** 12n }), { minLength: 1, maxLength: 10 }), (units, weights) => {
      const all = weights.reduce((a, b) => a + b, 0n)
      const shares = largestRemainder(units, weights.map((weight, i) => ({ key: String(i), weight })))
      if (all === 0n) return
      for (const [i, weight] of weights.entries()) {
        const off = shares.get(String(i))! * all - units * weight
        expect((off < 0n ? -off : off) < all).toBe(true)
      }
    }))
  })
  it("refuses a key that stands twice", () => {
    expect(() => largestRemainder(1n, [{ key: "a", weight: 1n }, { key: "a", weight: 1n }])).toThrow(/twice/)
  })
})

describe("amounts", () => {
  it.each<[string, bigint]>([["100 HYPER", 10n ** 11n], ["0.5 HYPER", 5n * 10n ** 8n], ["0.000000001 HYPER", 1n], ["1,000,000 HYPER", 10n ** 15n], [" 7  HYPER ", 7n * 10n ** 9n]])("reads %s", (text, units) => {
    expect(parseAmount(text)).toBe(units)
  })
  it.each(["", "100", "HYPER", "-1 HYPER", "1e3 HYPER", "1.0000000001 HYPER", ".5 HYPER", "1,00 HYPER", "100 hyper", "100 USD", "0x10 HYPER", "100HYPER", "1 HYPER 2"])("refuses %j", (text) => {
    expect(() => parseAmount(text)).toThrow(AmountFault)
  })
  it("reads back what it writes, and never shows more than there is", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n }), (units) => {
      expect(parseAmount(formatExact(units))).toBe(units)
      expect(parseAmount(`${formatAmount(units)} HYPER`) <= units).toBe(true)
    }))
    expect([formatAmount(30_643_999_999n), formatAmount(10n ** 11n), formatAmount(-1_500_000_000n), formatAmount(1n)]).toEqual(["30.643", "100", "-1.5", "0"])
  })
})

describe("cost", () => {
  it("adds up device time at the list price", () => {
    expect(costOf([{ workMilliseconds: 3_600_000 }, {}], "cpu")).toMatchObject({ deviceMilliseconds: 3_600_000, microdollars: 50_400n })
    expect(costOf([{ workMilliseconds: 3_600_000 }], "NVIDIA H200").dollars).toBeCloseTo(2, 2)
    expect(costOf([{ workMilliseconds: 1_000 }], "NVIDIA H200", [{ deviceClass: "NVIDIA H200", microdollars: 1_000n }]).dollars).toBe(0.001)
    expect([0n, 420n, 42_000n, 1_234_567n].map(formatDollars)).toEqual(["$0.00", "$0.0004", "$0.042", "$1.23"])
  })
})
