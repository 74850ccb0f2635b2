/** Bad pipeline files: each is refused with a message that names file, place and remedy, and nothing is written. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readdirSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { dirname } from "node:path"
import { planFile, type PlanFileOptions } from "../../src/plan/planFile.ts"
import type { PlanErrorReason } from "../../src/plan/PlanError.ts"
import { CHAIN, file, project } from "./project.ts"

interface Bad {
  readonly name: string
  readonly text: string
  readonly reason: PlanErrorReason
  /** what the whole message must say: path, words, remedy */
  readonly says: ReadonlyArray<RegExp>
  /** line in pipeline.ts, where it can be known */
  readonly line?: number
  readonly options?: PlanFileOptions
  readonly extension?: string
}

const train = (call: string): string => `  const { model, dataset } = p.select(pick())
  const shards = p.shard(split({ parts: 2 }), { sealed: p.encrypt(seal(), { dataset }), model })
  ${call}`

const bad: ReadonlyArray<Bad> = [
  { name: "a wrong option", text: file(train(`p.train(learn({ epochs: 1.5 }), { model, shards })`)), reason: "Invalid", says: [/steps\.train\.options\.epochs/, /integer.*got 1\.5/], line: 7 },
  { name: "a wrong nested option", text: file(train(`p.train(learn({ lora: { rank: "8" } }), { model, shards })`)), reason: "Invalid", says: [/steps\.train\.options\.lora\.rank/, /got "8"/], line: 7 },
  { name: "a wrong choice", text: file(train(`p.train(learn({ method: "lroa" }), { model, shards })`)), reason: "Invalid", says: [/steps\.train\.options\.method/, /"lora" \| "full", got "lroa"/] },
  { name: "an unknown option", text: file(train(`p.train(learn({ epoch: 2 }), { model, shards })`)), reason: "Invalid", says: [/every has no option epoch/, /did you mean "epochs"\?/] },
  { name: "a missing option", text: file(`  const { model, dataset } = p.select(pick())\n  p.shard(split(), { sealed: p.encrypt(seal(), { dataset }), model })`), reason: "Invalid", says: [/steps\.shard\.options\.parts: every needs the option parts/] },
  { name: "a secret's value where its reference should be, not repeated", text: file(train(`p.train(learn({ token: "hf_abcdef" }), { model, shards })`)), reason: "Invalid", says: [/steps\.train\.options\.token/, /got a string/] },
  { name: "an option that is not JSON", text: file(train(`p.train(learn({ lr: NaN, epochs: () => 1 }), { model, shards })`)), reason: "Invalid", says: [/options\.lr: NaN is not a number/, /options\.epochs: function is not JSON/] },
  { name: "a missing input", text: file(train(`p.train(learn(), { model })`)), reason: "Invalid", says: [/steps\.train\.inputs\.shards: p\.train needs the input shards/, /wire it: p\.shard\(\.\.\.\) gives it/], line: 7 },
  { name: "none of the inputs that one is needed of", text: file(`  p.serve(run(), {})`), reason: "Invalid", says: [/steps\.serve\.inputs\.packaged: p\.serve needs one of the inputs packaged, model/, /p\.package\(\.\.\.\) gives packaged, or const \{ model \} = p\.select\(\.\.\.\) gives model/], line: 5 },
  { name: "both inputs where one is taken", text: file(`  const { model, dataset } = p.select(pick())\n  const trained = p.train(learn(), { model, shards: p.shard(split({ parts: 1 }), { sealed: p.encrypt(seal(), { dataset }) }) })\n  p.serve(run(), { packaged: p.package(pack(), { checkpoint: p.checkpoint(best(), { trained }) }), model })`), reason: "Invalid", says: [/steps\.serve\.inputs\.model: p\.serve takes one of the inputs packaged, model, not 2/, /leave model out/] },
  { name: "an undefined wire", text: file(`  const { modle, dataset } = p.select(pick())\n  p.encrypt(seal(), { dataset, model: modle })\n  p.encrypt(seal(), { dataset: modle })`), reason: "Invalid", says: [/steps\.encrypt-2\.inputs\.dataset: undefined is not a wire/] },
  { name: "a wrong wire", text: file(train(`p.train(learn(), { model, shards: model })`)), reason: "Invalid", says: [/steps\.train\.inputs\.shards: it is wired to select\.model, which carries "model", not "shards"/] },
  { name: "an unknown input", text: file(`  const { dataset } = p.select(pick())\n  p.encrypt(seal(), { datset: dataset })`), reason: "Invalid", says: [/p\.encrypt takes no input datset/, /did you mean "dataset"\?/] },
  { name: "a plugin of another kind", text: file(`  const { model, dataset } = p.select(pick())\n  p.train(seal(), { model, shards: p.shard(split({ parts: 1 }), { sealed: p.encrypt(seal(), { dataset }) }) })`), reason: "Invalid", says: [/steps\.train\.plugin: every is an encrypt plugin, p\.train takes a train plugin/] },
  { name: "a factory that was not called", text: file(`  p.select(pick)`), reason: "Invalid", says: [/a function is not a plugin/, /call the factory/] },
  { name: "two steps with one id", text: file(`  p.select(pick(), undefined, { id: "a" })\n  p.select(pick(), undefined, { id: "a" })`), reason: "Invalid", says: [/two steps have the id a/] },
  { name: "a method that does not exist", text: file(`  p.slect(pick())`), reason: "Invalid", says: [/there is no p\.slect/, /did you mean "select"\?/], line: 5 },
  {
    name: "a cycle",
    text: file(train(`const trained = p.train(learn(), { model: { $wire: "model", step: "loop", path: ["model"] }, shards })\n  p.checkpoint(best(), { trained: { $wire: "trained", step: "checkpoint", path: [] } })`)),
    reason: "Invalid",
    says: [/steps wait for each other: checkpoint → checkpoint/, /a step can only take what an earlier step gives/, /wired to the step loop, which is not in this pipeline/]
  },
  { name: "an async body", text: file(CHAIN).replace("(p) =>", "async (p) =>"), reason: "Invalid", says: [/the body of "sample" is async/] },
  { name: "an unknown parameter", text: file(CHAIN), reason: "Invalid", says: [/params\.lrr: "sample" has no parameter lrr/, /did you mean "lr"\?/], options: { params: { lrr: "1" } } },
  { name: "a parameter of another type", text: file(CHAIN), reason: "Invalid", says: [/params\.lr: "fast" is not a number/, /--param lr=0\.0002/], options: { params: { lr: "fast" } } },
  { name: "no steps", text: file(""), reason: "Invalid", says: [/describes no steps/] },
  { name: "no default export", text: `export const x = 1\n`, reason: "Invalid", says: [/has no default export/, /export default pipeline\(/] },
  { name: "another default export", text: `export default 1\n`, reason: "Invalid", says: [/the default export is not a pipeline/] },
  { name: "a syntax error", text: file(CHAIN, "const = 1"), reason: "Syntax", says: [/correct the syntax/], line: 3 },
  { name: "a syntax error in JavaScript", text: "\nconst = 1\n", reason: "Syntax", says: [/pipeline\.mjs:2/], extension: ".mjs" },
  { name: "an enum", text: file(CHAIN, "enum Size { Small }"), reason: "Syntax", says: [/enum is not supported/, /types that can be erased/] },
  { name: "an endless loop", text: file(CHAIN, "while (true) {}"), reason: "Timeout", says: [/used 1 s of processor time/, /endless loop/], options: { cpuSeconds: 1 } },
  { name: "an endless loop in the body", text: file("  for (;;) {}"), reason: "Timeout", says: [/endless loop/], options: { cpuSeconds: 1 } },
  { name: "a top-level await that never settles", text: file(CHAIN, "await new Promise(() => {})"), reason: "Failed", says: [/never finished loading/] },
  { name: "a wait that outlasts everybody", text: file(CHAIN, "await new Promise((done) => setTimeout(done, 1e9))"), reason: "Timeout", says: [/did not finish within 1\.5 s/], options: { timeoutMillis: 1500 } },
  { name: "process.exit", text: file(CHAIN, "process.exit(0)"), reason: "Forbidden", says: [/cannot call process\.exit/], line: 3 },
  { name: "a signal to another process", text: file(CHAIN, "process.kill(process.ppid, 9)"), reason: "Forbidden", says: [/cannot call process\.kill/], line: 3 },
  { name: "an environment read", text: file(CHAIN, "const home = process.env.HOME"), reason: "Forbidden", says: [/cannot read the environment \(process\.env\.HOME\)/, /p\.param\("home", default\).*secret\("HOME"\)/], line: 3 },
  { name: "a copy of the environment", text: file(CHAIN, "const all = { ...process.env }"), reason: "Forbidden", says: [/cannot read the environment/], line: 3 },
  { name: "a file read outside the project", text: file(CHAIN, `import { readFileSync } from "node:fs"\nreadFileSync("/etc/hostname")`), reason: "Forbidden", says: [/cannot read a file outside its project \(\/etc\/hostname\)/], line: 4 },
  { name: "the project's own .env", text: file(CHAIN, `import { readFileSync } from "node:fs"\nreadFileSync(new URL("./.env", import.meta.url))`), reason: "Forbidden", says: [/cannot read a file outside its project/, /\.env/] },
  { name: "a file write", text: file(CHAIN, `import { writeFileSync } from "node:fs"\nwriteFileSync(new URL("./written", import.meta.url), "x")`), reason: "Forbidden", says: [/cannot write a file/], line: 4 },
  { name: "a child process", text: file(CHAIN, `import { execSync } from "node:child_process"\nexecSync("id")`), reason: "Forbidden", says: [/cannot start a process/] },
  { name: "a worker thread", text: file(CHAIN, `import { Worker } from "node:worker_threads"\nnew Worker("", { eval: true })`), reason: "Forbidden", says: [/cannot start a thread/] },
  { name: "node:sqlite, which the permission model forgets", text: file(CHAIN, `import { DatabaseSync } from "node:sqlite"\nnew DatabaseSync("/tmp/hyper-plan-written")`), reason: "Forbidden", says: [/cannot use node:sqlite/] },
  { name: "memory in the heap", text: file(CHAIN, "const all: unknown[] = []; for (;;) all.push(new Array(1e5).fill(Math.random()))"), reason: "Memory", says: [/needs more memory/, /let a stage load data/] },
  { name: "memory in buffers", text: file(CHAIN, "const all: unknown[] = []; for (;;) all.push(Buffer.alloc(5e7).fill(1))"), reason: "Memory", says: [/needs more memory/] },
  { name: "an exception", text: file(CHAIN, "function f() { throw new Error('my own') }\nf()"), reason: "Failed", says: [/Error: my own/], line: 3 },
  { name: "a plugin of ours that does not exist", text: file(CHAIN, `import { x } from "@hypernode/plugins/locl"`), reason: "Unresolved", says: [/locl/, /did you mean "local"\?/] },
  { name: "a package that is not installed", text: file(CHAIN, `import { x } from "my-hyper-plugin"`), reason: "Unresolved", says: [/Cannot find package 'my-hyper-plugin'/, /npm install my-hyper-plugin/] }
]

describe("a bad pipeline file", () => {
  for (const { extension = ".ts", line, name, options, reason, says, text } of bad) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const path = project(text, `pipeline${extension}`)
        if (name.includes(".env")) yield* Effect.promise(async () => (await import("node:fs")).writeFileSync(`${dirname(path)}/.env`, "TOKEN=1"))
        const before = readdirSync(dirname(path), { recursive: true })
        const error = yield* Effect.flip(planFile(path, options))
        assert.strictEqual(error.reason, reason, error.message)
        assert.include(error.message, `pipeline${extension}`)
        for (const expected of says) assert.match(error.message, expected)
        if (line !== undefined) assert.strictEqual(error.issues[0]!.line, line, error.message)
        assert.notInclude(error.message, "hf_abcdef")
        assert.deepStrictEqual(readdirSync(dirname(path), { recursive: true }), before)
      }))
  }

  it.effect("collects all problems, not just the first", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(planFile(project(file(train(`p.train(learn({ epochs: "2", lr: "x", foo: 1 }), { model })`)))))
      assert.deepStrictEqual(error.issues.map((issue) => issue.path).toSorted(), ["steps.train.inputs.shards", "steps.train.options.epochs", "steps.train.options.foo", "steps.train.options.lr"])
    }))

  it.effect("that is not there, or is a directory, or is no program", () =>
    Effect.gen(function*() {
      const path = project("", "notes.txt")
      for (const [given, says] of [[`${path}.ts`, /there is no file/], [dirname(path), /is not a file/], [path, /neither TypeScript nor JavaScript/]] as const) {
        const error = yield* Effect.flip(planFile(given))
        assert.strictEqual(error.reason, "Unreadable")
        assert.match(error.message, says)
      }
    }))

  it.effect("that calls a server on this machine reaches nobody", () =>
    Effect.gen(function*() {
      let calls = 0
      const server = createServer((_, response) => {
        calls += 1
        response.end("ok")
      })
      yield* Effect.acquireRelease(Effect.promise(() => new Promise<void>((done) => server.listen(0, "127.0.0.1", done))), () => Effect.promise(() => new Promise((done) => server.close(done))))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      const error = yield* Effect.flip(planFile(project(file(CHAIN, `const answer = await fetch("${url}")`))))
      assert.strictEqual(error.reason, "Forbidden")
      assert.match(error.message, /cannot use the network/)
      assert.strictEqual(calls, 0)
      // the planted fault: the same call from a process that is not confined does arrive
      yield* Effect.promise(() => fetch(url))
      assert.strictEqual(calls, 1)
    }))
})
