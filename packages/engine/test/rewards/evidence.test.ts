import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { evidenceOf, faultReasons } from "../../src/rewards/Evidence.ts"
import { allocate, policies } from "../../src/rewards/policy.ts"
import { received, START, testNode, work } from "./batches.ts"

const basis = { openedAt: START, deviceClasses: {}, exclusions: [] }
const rejectedOf = (batches: Parameters<typeof evidenceOf>[0], more: Partial<Parameters<typeof evidenceOf>[1]> = {}) =>
  evidenceOf(batches, { ...basis, ...more }).map(({ accepted, rejected, workMilliseconds }) => ({ accepted, workMilliseconds, rejected: rejected.map(({ count, reason, remedy }) => [reason, count, remedy.length > 0]) }))

describe("evidenceOf", () => {
  it("adds up work, and counts two ranks at once as present once", () => {
    const node = testNode()
    const [evidence] = evidenceOf([received(node.batch([work(2, 2000), work(2, 1900, { rank: 1 }), { at: START, rank: 0, kind: "phase", step: 0, text: "loading" }])), received(node.batch([work(5, 1000)]))], basis)
    expect(evidence).toMatchObject({ node: node.id, workMilliseconds: 4900, presenceMilliseconds: 3000, accepted: 3, rejected: [] })
    expect(evidence?.batches).toHaveLength(2)
  })
  it("pays no second twice: overlaps are cut to the wall clock, and named", () => {
    const node = testNode()
    expect(rejectedOf([received(node.batch([work(2, 2000), work(3, 2000), work(3, 5000)]))])).toEqual([{ accepted: 2, workMilliseconds: 3000, rejected: [["claims more device time than passed", 2, true]] }])
  })
  it("cuts a few milliseconds of rounding without a word", () => {
    expect(rejectedOf([received(testNode().batch([work(2, 2000), work(3, 1010)]))])).toEqual([{ accepted: 2, workMilliseconds: 3000, rejected: [] }])
  })
  it("pays nothing for time before the pool was opened, and nothing from a clock that is ahead", () => {
    const node = testNode()
    expect(rejectedOf([received(node.batch([work(1, 1_000_000_000)])), { receivedAt: START, batch: node.batch([work(600, 1000)]) }])).toEqual([
      { accepted: 1, workMilliseconds: 1000, rejected: [["claims more device time than passed", 1, true], ["is dated after it arrived", 1, true]] }
    ])
  })
  it("names a node that was heard and did nothing", () => {
    expect(rejectedOf([received(testNode().batch([{ at: START, rank: 0, kind: "step", step: 1 }]))])).toEqual([{ accepted: 0, workMilliseconds: 0, rejected: [["reports no work", 1, true]] }])
    expect(rejectedOf([received(testNode().batch([work(1, -5)]))])).toEqual([{ accepted: 0, workMilliseconds: 0, rejected: [["reports negative work", 1, true]] }])
  })
  it("leaves out what a verdict excludes, with its reason", () => {
    const [a, b] = [testNode(), testNode()]
    const batches = [a.batch([work(1, 1000)], "endpoint"), a.batch([work(1, 500)], "train"), b.batch([work(1, 700)], "train")].map(received)
    const exclusion = { job: "endpoint", reason: "the endpoint did not answer", remedy: "Restart it." }
    const evidence = new Map(evidenceOf(batches, { ...basis, exclusions: [exclusion] }).map((e) => [e.node, e]))
    expect(evidence.get(a.id)).toMatchObject({ workMilliseconds: 500, rejected: [{ reason: exclusion.reason, count: 1 }] })
    expect(evidence.get(b.id)).toMatchObject({ workMilliseconds: 700, rejected: [] })
    expect(evidenceOf(batches, { ...basis, exclusions: [{ reason: "names nobody", remedy: "" }] }).every(({ rejected }) => rejected.length === 0)).toBe(true)
  })
  it("refuses unsigned, altered, forked and orphaned batches, each by name", () => {
    const node = testNode()
    const stranger = testNode()
    const first = node.batch([work(1, 1000)])
    const second = node.batch([work(2, 1000)])
    const third = node.batch([work(3, 1000)])
    const fork = node.forge({ sequence: 1, previous: first.digest, samples: [work(9, 9000)] })
    const cases: ReadonlyArray<readonly [keyof typeof faultReasons, ReadonlyArray<typeof first>, number]> = [
      ["signature", [{ ...first, signature: "" }], 0],
      ["signature", [{ ...first, signature: stranger.batch([]).signature }], 0],
      ["digest", [{ ...first, samples: [work(1, 2000)] }], 0],
      ["malformed", [{ ...first, node: "somebody" }], 0],
      ["gap", [first, third], 1000],
      ["gap", [second], 0]
    ]
    for (const [fault, batches, milliseconds] of cases) {
      expect(rejectedOf(batches.map(received))).toEqual([{ accepted: milliseconds / 1000, workMilliseconds: milliseconds, rejected: [[faultReasons[fault], 1, true]] }])
    }
    // of two batches in one place the one that came first stays; the other one, and what follows from it alone, is not paid
    const [evidence] = evidenceOf([received(first), received(second), { receivedAt: START + 60_000, batch: fork }, received(third)], basis)
    expect(evidence).toMatchObject({ workMilliseconds: 3000, rejected: [{ reason: faultReasons.fork, count: 1 }] })
  })
  it("looks neither at the order of batches nor at duplicates", () => {
    const nodes = [testNode(), testNode(), testNode()]
    const batches = nodes.flatMap((node, i) => [1, 2, 3, 4].map((n) => received(node.batch([work(n, 300 * (i + 1)), work(n, 200, { rank: 1 })], i === 0 && n > 2 ? "job-2" : "job-1"))))
    const expected = evidenceOf(batches, basis)
    expect(expected).toHaveLength(3)
    const pay = (evidence: typeof expected) => allocate(policies["hypernode-v1"], 1_000_003n, evidence).shares
    const shuffled = fc.tuple(fc.shuffledSubarray(batches, { minLength: batches.length }), fc.subarray(batches)).chain(([all, again]) => fc.shuffledSubarray([...all, ...again], { minLength: all.length + again.length }))
    fc.assert(fc.property(shuffled, (some) => {
      expect(pay(evidenceOf(some, basis))).toEqual(pay(expected))
    }), { numRuns: 20 })
    expect(pay(evidenceOf(batches.slice(1), basis))).not.toEqual(pay(expected))
  })
})
