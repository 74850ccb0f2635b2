import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { inOrder } from "../../src/plan/order.ts"

const step = (id: string, ...needs: ReadonlyArray<string>) => ({ id, inputs: Object.fromEntries(needs.map((need, i) => [`i${i}`, { step: need, path: [] }])) })
const ids = (result: ReturnType<typeof inOrder>) => (result.ok ? result.steps.map((s) => s.id) : result.cycle)

describe("inOrder", () => {
  it("leaves steps as they were written where that works", () => assert.deepStrictEqual(ids(inOrder([step("b"), step("a"), step("c", "a", "b")])), ["b", "a", "c"]))
  it("moves a step behind what it takes from", () => assert.deepStrictEqual(ids(inOrder([step("c", "a"), step("a"), step("b")])), ["a", "c", "b"]))
  it("names a cycle in the direction data would go", () => {
    assert.deepStrictEqual(inOrder([step("x"), step("a", "c", "x"), step("b", "a"), step("c", "b")]), { ok: false, cycle: ["a", "b", "c", "a"] })
    assert.deepStrictEqual(inOrder([step("a", "a")]), { ok: false, cycle: ["a", "a"] })
    // a step behind the cycle is not part of it
    assert.deepStrictEqual(inOrder([step("z", "a"), step("a", "b"), step("b", "a")]), { ok: false, cycle: ["a", "b", "a"] })
  })
  it("orders any acyclic graph, every step once and after its needs", () => {
    const graph = fc.array(fc.array(fc.nat(30), { maxLength: 4 }), { maxLength: 20 }).chain((rows) => {
      const steps = rows.map((needs, i) => step(`s${i}`, ...new Set(needs.filter((n) => n < i).map((n) => `s${n}`))))
      return fc.shuffledSubarray(steps, { minLength: steps.length })
    })
    fc.assert(fc.property(graph, (steps) => {
      const result = inOrder(steps)
      assert.isTrue(result.ok)
      const order = ids(result)
      assert.strictEqual(new Set(order).size, steps.length)
      for (const one of steps) for (const { step: need } of Object.values(one.inputs)) assert.isBelow(order.indexOf(need), order.indexOf(one.id))
    }))
  })
})
