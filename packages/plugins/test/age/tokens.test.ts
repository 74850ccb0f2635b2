/** Token counts are exact where they are given: against the reference implementation (tokenizers, by HYPER_PYTHON), and absent elsewhere. */
import { spawnSync } from "node:child_process"
import { readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import type { Model } from "@hypernode/engine/stage/values"
import { ProgressLines } from "@hypernode/engine/testing/stageServices"
import { tokenizerFault } from "../../src/age/tokenizerFiles.ts"
import { chatRow, encrypt, provided, source } from "./sealing.ts"

const tiny = resolve(import.meta.dirname, "../../../../fixtures/models/tiny-llama")
const python = process.env["HYPER_PYTHON"]
const reference = python !== undefined && spawnSync(python, ["-c", "import tokenizers"]).status === 0

const model = Effect.map(Effect.flatMap(ArtifactStore, (artifacts) => artifacts.putTree(tiny)), (tree): Model => ({ name: "tiny-llama", source: "file:tiny-llama", revision: tree.digest, tree, architecture: "LlamaForCausalLM", parameters: 1 }))

const texts = [
  "Are you open on Tuesday?", "  leading blanks\n\nand lines\t\ttabs ", "1234567890 3.14 1,000", "naïve café – “quotes” … ½", "日本語のテキスト、混ざった text", "emoji 👩‍👩‍👧 🇩🇪 zero\u200bwidth",
  "CamelCase snake_case kebab-case", "<|user|> is text here", "don't you'll I'm WE'RE", "ﬁ ligature Å \u0041\u030a", "", "x".repeat(500), "\u2028\u00a0\u3000", "!!??...---"
]

describe("age: tokens", () => {
  it.effect.skipIf(!reference)("are those of the reference tokenizer, message by message (skipped where HYPER_PYTHON has no tokenizers)", () =>
    provided(Effect.gen(function*() {
      const rows = texts.map((text, i) => JSON.stringify({ messages: [{ role: "user", content: text }, { role: "assistant", content: `${text} ${i}` }] }))
      const sealed = yield* encrypt(yield* source(rows.join("\n"), rows.length), { segmentRows: 1 }, yield* model)
      const program = "import json, sys; from tokenizers import Tokenizer; t = Tokenizer.from_file(sys.argv[1]); print(json.dumps([sum(len(t.encode(m['content'], add_special_tokens=False).ids) for m in json.loads(r)['messages']) for r in sys.stdin]))"
      const result = spawnSync(python!, ["-c", program, join(tiny, "tokenizer.json")], { input: rows.join("\n"), encoding: "utf8" })
      assert.strictEqual(result.status, 0, result.stderr)
      assert.deepStrictEqual(sealed.segments.map((s) => s.tokens), JSON.parse(result.stdout))
    })))

  it.effect("are counted in threads for a large data set, the same as in place", () =>
    provided(Effect.gen(function*() {
      const rows = Array.from({ length: 1500 }, (_, i) => chatRow(i, texts[i % texts.length]))
      const large = yield* encrypt(yield* source(rows.join("\n"), rows.length), {}, yield* model)
      const small = yield* encrypt(yield* source(rows.slice(0, 94).join("\n"), 94), { segmentRows: 94 }, yield* model)
      assert.strictEqual(large.segments[0]!.rows, 94)
      assert.strictEqual(large.segments[0]!.tokens, small.segments[0]!.tokens)
      assert.isTrue(large.segments.every((s) => (s.tokens ?? 0) > 0))
    })))

  it.effect("are left out, with the reason, where they cannot be counted exactly", () =>
    provided(Effect.gen(function*() {
      const artifacts = yield* ArtifactStore
      const { digest, size } = yield* artifacts.put("{}", "application/json")
      const tree = yield* artifacts.put(JSON.stringify({ files: [{ path: "config.json", digest, size }] }), "application/vnd.hypernode.tree.v1+json")
      const sealed = yield* encrypt(yield* source(chatRow(1), 1), {}, { ...(yield* model), tree })
      assert.isUndefined(sealed.segments[0]!.tokens)
      assert.match((yield* ProgressLines).join("\n"), /not counted here \(it has no tokenizer\.json\)/)
    })))

  it("knows the tokenizers that the library cannot reproduce", async () => {
    const json = await readFile(join(tiny, "tokenizer.json"), "utf8")
    assert.isUndefined(tokenizerFault(json))
    assert.match(tokenizerFault("{")!, /not JSON/)
    assert.match(tokenizerFault('{"model":{"type":"Unigram"}}')!, /Unigram/)
    for (const construct of ['"behavior":"MergedWithPrevious"', String.raw`"Regex":"\\Ga"`, '"Regex":"(?>a)b"', '"Regex":"a++b"', '"Regex":"\\\\s*+x"']) {
      assert.isDefined(tokenizerFault(json.replace("{", `{"x":{${construct}},`)), construct)
    }
  })
})
