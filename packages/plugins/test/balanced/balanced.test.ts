import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import fc from "fast-check"
import { digestOf } from "@hypernode/engine/artifact/Digest"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Shards, type Sealed, type Segment } from "@hypernode/engine/stage/values"
import { stageContext, stageServices } from "@hypernode/engine/testing/stageServices"
import { assign } from "../../src/balanced/assign.ts"
import { balanced } from "../../src/balanced/index.ts"
import plugin, { Options } from "../../src/balanced/plugin.ts"

const segment = (index: number, bytes: number, tokens?: number): Segment => ({
  index,
  artifact: { digest: digestOf(String(index)), mediaType: "application/age", size: bytes + 200 },
  rows: index + 1,
  bytes,
  ...(tokens === undefined ? {} : { tokens })
})
const sealedOf = (segments: ReadonlyArray<Segment>): Sealed => ({ keyId: "dataset/x", recipients: ["age1x"], commitment: "hmac-sha256:00", format: "chat", rows: segments.reduce((n, s) => n + s.rows, 0), segments })

const run = Effect.fnUntraced(function*(sealed: Sealed, parts: number) {
  const context = stageContext(yield* CurrentHome, { options: { parts }, input: { sealed }, projectDirectory: "/" })
  return yield* (plugin.stages.shard!.body as { run: (c: typeof context) => Effect.Effect<typeof Shards.Type, import("@hypernode/engine/stage/StageError").StageError, any> }).run(context)
})
const provided = <A, E>(effect: Effect.Effect<A, E, any>) => Effect.provide(effect, stageServices, { local: true }) as Effect.Effect<A, E>

describe("balanced", () => {
  it("every segment goes to one slot, none stays idle, sums are right, order of segments does not matter", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 12 }), fc.boolean(), (weights, wanted, counted) => {
        const parts = Math.min(wanted, weights.length)
        const segments = weights.map((w, i) => (counted ? segment(i, 1000, w) : segment(i, w)))
        const slots = assign(segments, parts)
        assert.deepStrictEqual(slots.flatMap((s) => s.segments).toSorted((a, b) => a - b), weights.map((_, i) => i))
        for (const slot of slots) {
          assert.isAbove(slot.segments.length, 0)
          const own = slot.segments.map((i) => segments[i]!)
          assert.strictEqual(slot.rows, own.reduce((n, s) => n + s.rows, 0))
          assert.strictEqual(slot.bytes, own.reduce((n, s) => n + s.bytes, 0))
          assert.strictEqual(slot.tokens, counted ? own.reduce((n, s) => n + s.tokens!, 0) : undefined)
        }
        assert.deepStrictEqual(assign(segments.toReversed(), parts), slots)
        // Graham's bound, against the trivial lower bound; zero weights only fill empty slots
        const loads = slots.map((s) => s.segments.reduce((n, i) => n + weights[i]!, 0))
        const best = Math.max(...weights, weights.reduce((a, b) => a + b, 0) / parts)
        assert.isAtMost(Math.max(...loads), best * 2)
      })
    )
  })

  it("balances equal segments exactly, and by bytes where one segment has no tokens", () => {
    assert.deepStrictEqual(assign(Array.from({ length: 16 }, (_, i) => segment(i, 100)), 4).map((s) => s.bytes), [400, 400, 400, 400])
    const mixed = assign([segment(0, 1, 1000), segment(1, 100, 1), segment(2, 100)], 2)
    assert.deepStrictEqual(mixed.map((s) => s.segments), [[0, 1], [2]])
    assert.isUndefined(mixed[0]!.tokens)
  })

  it.effect("shards and says how evenly; the result is what the contract wants", () =>
    provided(Effect.gen(function*() {
      const sealed = sealedOf(Array.from({ length: 16 }, (_, i) => segment(i, 1000 + i)))
      const shards = yield* run(sealed, 3)
      yield* Schema.decodeUnknownEffect(Shards)(JSON.parse(JSON.stringify(shards)))
      assert.deepStrictEqual(shards.sealed, sealed)
      assert.deepStrictEqual(yield* run(sealed, 3), shards)
    })))

  it.effect("too few segments for the slots: says so and what to do", () =>
    provided(Effect.gen(function*() {
      const error = yield* Effect.flip(run(sealedOf([segment(7, 10), segment(8, 10), segment(9, 10)]), 4))
      assert.strictEqual(error.reason, "InvalidInput")
      assert.include(error.message, "3 segments cannot fill 4 slots")
      assert.include(error.remedy!, "segmentRows")
      assert.notInclude((yield* Effect.flip(run(sealedOf([{ ...segment(0, 10), rows: 1 }]), 2))).remedy!, "segmentRows")
    })))

  it("parts is a whole number of slots", () => {
    for (const parts of [0, -1, 1.5, "2", undefined, 1e9]) assert.throws(() => Schema.decodeUnknownSync(Options)({ parts }))
    assert.deepStrictEqual(balanced({ parts: 2 }), { kind: "shard", plugin: { id: "balanced", specifier: "@hypernode/plugins/balanced" }, options: { parts: 2 } })
  })
})
