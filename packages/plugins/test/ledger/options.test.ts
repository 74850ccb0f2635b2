import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { describe, expect, it } from "vitest"
import { challengeWindow } from "@hypernode/engine/rewards/challengeWindow"
import { ledger } from "../../src/ledger/index.ts"
import plugin, { LedgerOptions } from "../../src/ledger/plugin.ts"

const decode = Schema.decodeUnknownSync(LedgerOptions, { onExcessProperty: "error" })

describe("options", () => {
  it("takes what the factory writes", () => {
    const use = ledger({ pool: "100 HYPER", policy: "hypernode-v1", challengeWindow: "24 h" })
    expect(use).toMatchObject({ kind: "reward", plugin: { id: "ledger", specifier: "@hypernode/plugins/ledger" } })
    expect(decode(use.options)).toEqual(use.options)
  })
  it.each<[unknown, RegExp]>([
    [{ pool: "100" }, /100 HYPER/],
    [{ pool: "0 HYPER" }, /more than nothing/],
    [{ pool: "-1 HYPER" }, /no amount/],
    [{ pool: "1 HYPER", policy: "work-v2" }, /work-v1/],
    [{ pool: "1 HYPER", challengeWindow: "soon" }, /time span/],
    [{ pool: "1 HYPER", window: "1 h" }, /window/],
    [{}, /pool/]
  ])("refuses %j", (options, message) => {
    expect(() => decode(options)).toThrow(message)
  })
  it.each<[string, number | undefined]>([["24 h", 86_400_000], ["30min", 1_800_000], ["7 d", 604_800_000], ["0 s", 0], ["400 d", undefined], ["1.5 h", undefined], ["h", undefined], ["5", undefined], ["-1 h", undefined], ["1 year", undefined]])("reads %s", (text, milliseconds) => {
    expect(challengeWindow(text)).toBe(milliseconds)
  })
  it("says before anything runs what it will move, and that it is no money", async () => {
    const estimate = await Effect.runPromise(plugin.stages.reward!.estimate!({ pool: "100 HYPER" }, { projectDirectory: "/" }))
    expect(estimate.sideEffects.join()).toContain("100 HYPER into escrow")
    expect(estimate.notes.map(({ message }) => message).join()).toContain("not money")
  })
})
