import { describe, expect, it } from "vitest"
import { decodeCheckpoint, decodeOp, decodeReply, encodeCall, hashOf, instantOf } from "../../src/durable/embedded/Protocol.ts"
import { matches, matchExpression, parseMatch } from "../../src/durable/match.ts"

const none = () => null

describe("calls", () => {
  it("sends finished steps as they are stored, in their order, and names a step only when it is to run alone", () => {
    const finished = [
      { hash: "b", kind: "data" as const, json: '{"x":[1,"\\u0000"]}' },
      { hash: "a", kind: "error" as const, json: '{"name":"E","message":"m"}' }
    ]
    const { body, url } = encodeCall({ runId: "r", finished, attempt: 2, attempts: 4, mode: { _tag: "Step", hash: "h" } })
    expect(url).toContain("fnId=hypernode-run&stepId=h")
    const sent = JSON.parse(body)
    expect(sent.steps).toEqual({ b: { type: "data", data: { x: [1, "\0"] } }, a: { type: "error", error: { name: "E", message: "m" } } })
    expect(sent.ctx).toEqual({ run_id: "r", attempt: 2, max_attempts: 4, disable_immediate_execution: true, use_api: false, stack: { stack: ["b", "a"], current: 2 } })
    expect(sent.event.data).toEqual({ runId: "r" })
  })
  it("asks for checkpoints by naming function and queue item, and only then", () => {
    const ctx = (mode: "Checkpoint" | "Discover") => JSON.parse(encodeCall({ runId: "r", finished: [], attempt: 0, attempts: 4, mode: { _tag: mode } }).body).ctx
    expect(ctx("Checkpoint")).toMatchObject({ fn_id: "hypernode-run", qi_id: "r", disable_immediate_execution: false })
    expect(ctx("Discover")).not.toHaveProperty("fn_id")
  })
  it("hashes ids by sha-1", () => expect(hashOf("a")).toBe("86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"))
})

describe("answers", () => {
  const now = Date.parse("2030-01-01T00:00:00Z")
  it("knows the ops", () => {
    expect(decodeOp({ op: "StepRun", id: "h", data: undefined }, now)).toEqual({ _tag: "Finished", step: { hash: "h", kind: "data", json: "null" } })
    expect(decodeOp({ op: "StepFailed", id: "h", error: { name: "X", message: "m", stack: "/secret/path" } }, now)).toEqual({ _tag: "Finished", step: { hash: "h", kind: "error", json: '{"name":"X","message":"m"}' } })
    expect(decodeOp({ op: "StepError", id: "h", error: { message: "m" } }, now)).toEqual({ _tag: "TryAgain", hash: "h", message: "m" })
    expect(decodeOp({ op: "StepPlanned", id: "h", displayName: "a" }, now)).toEqual({ _tag: "Planned", hash: "h", name: "a" })
    expect(decodeOp({ op: "Sleep", id: "h", name: "1h30m" }, now)).toEqual({ _tag: "Sleep", hash: "h", until: now + 5_400_000 })
    expect(decodeOp({ op: "WaitForEvent", id: "h", name: "e", opts: { timeout: "2030-01-01T00:00:01.500Z", if: 'async.data.job == "j"' } }, now)).toEqual({ _tag: "Wait", hash: "h", event: "e", match: { job: "j" }, until: now + 1500 })
    expect(decodeOp({ op: "RunComplete", id: "h", data: 1 }, now)).toEqual({ _tag: "Completed" })
    expect(() => decodeOp({ op: "InvokeFunction", id: "h" }, now)).toThrow(/InvokeFunction/)
  })
  it("reads durations and dates", () => {
    expect(instantOf("2w1d", 0)).toBe(15 * 86_400_000)
    expect(instantOf("1970-01-01T00:00:05.000Z", 0)).toBe(5000)
    expect(() => instantOf("soon", 0)).toThrow(/soon/)
  })
  it("tells what may be tried again, and when", () => {
    const headers = (entries: Record<string, string>) => (name: string) => entries[name] ?? null
    expect(decodeReply({ status: 500, header: headers({ "x-inngest-no-retry": "false", "retry-after": "7" }), body: '{"message":"m"}' }, now)).toEqual({ _tag: "Failed", retry: true, retryAfterMillis: 7000, message: "m" })
    expect(decodeReply({ status: 400, header: headers({ "x-inngest-no-retry": "true" }), body: '{"message":"m"}' }, now)).toMatchObject({ retry: false })
    expect(decodeReply({ status: 500, header: none, body: "<html>" }, now)).toMatchObject({ retry: false, message: "the function answered 500" })
    expect(decodeReply({ status: 206, header: headers({ "retry-after": "2030-01-01T00:00:03Z" }), body: '[{"op":"StepError","id":"h","error":{}}]' }, now)).toMatchObject({ retryAfterMillis: 3000 })
    expect(decodeReply({ status: 200, header: none, body: "null" }, now)).toMatchObject({ ops: [{ _tag: "Completed" }] })
  })
  it("recognises checkpoints and nothing else", () => {
    expect(decodeCheckpoint("http://hyper.invalid/v1/checkpoint/r%2F1/async", '{"steps":[{"op":"StepRun","id":"h","data":1}]}', now)).toEqual({ runId: "r/1", ops: [{ _tag: "Finished", step: { hash: "h", kind: "data", json: "1" } }] })
    for (const other of ["/v1/checkpoint/r/steps", "/v1/checkpoint/r/async/more", "/v1/checkpoint//async", "/e/none?to=/v1/checkpoint/r/async"]) expect(decodeCheckpoint(`http://hyper.invalid${other}`, "{}", now)).toBeUndefined()
  })
})

describe("matches", () => {
  it.each([{}, { job: "j" }, { job: 'a" && async.data.x == "b', node: "\\ é\n" }])("goes through the expression and back: %j", (match) => {
    expect(parseMatch(matchExpression(match))).toEqual(match)
    expect(matches(match, { ...match, more: "1" })).toBe(true)
  })
  it("compares every field", () => expect(matches({ a: "1", b: "2" }, { a: "1", b: "3" })).toBe(false))
  it("refuses what it did not write", () => {
    for (const bad of ["event.data.a == async.data.a", 'async.data.a == "1" || true', 'async.data.a == "1" && ']) expect(() => parseMatch(bad)).toThrow(/cannot read/)
    expect(() => matchExpression({ "a.b": "1" })).toThrow(/plain name/)
  })
})
