/** Pipeline files as people push them: quick ones, broken ones, and ones that reach for what is not theirs. */

export const rows = (seed: string): string => Array.from({ length: 12 }, (_, i) => `${JSON.stringify({ messages: [{ role: "user", content: `${seed} ${i}?` }, { role: "assistant", content: `${i}.` }] })}\n`).join("")

const head = `import { pipeline, secret } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { hfHub } from "@hypernode/plugins/hf-hub"
import { local } from "@hypernode/plugins/local"
`

/** Selects and seals a data set of the repository. `before`: at the top of the file. */
export const seal = (name: string, dataset = "../data/rows.jsonl", before = ""): string => `${head}${before}
export default pipeline("${name}", (p) => {
  const { dataset } = p.select(local({ dataset: p.param("dataset", ${JSON.stringify(dataset)}) }))
  p.encrypt(age(), { dataset })
})
`

/** Takes its time to load: what comes between a commit's being seen and its run's start. */
export const slow = (name: string, millis: number): string => seal(name, undefined, `await new Promise((done) => setTimeout(done, ${millis}))\n`)

export const broken = `${head}export default pipeline("broken", (p) => {\n  p.select(local({ modle: "x" } as never))\n})\n`

export const asksSecret = `${head}export default pipeline("secret", (p) => {\n  p.select(hfHub({ model: "o/m", dataset: "../data/rows.jsonl", token: secret("AWS_KEY") }))\n})\n`

export const asksHost = `${head}export default pipeline("host", (p) => {\n  p.select(hfHub({ model: "o/m", dataset: "../data/rows.jsonl", endpoint: "http://127.0.0.1:9" }))\n})\n`

/** A plugin file beside the pipeline that leaves a mark as soon as it is loaded as a definition. */
export const pluginFile = (mark: string): string => `import { pluginFrom } from "@hypernode/engine"
const plugin = pluginFrom(import.meta.url, "marks")
export const marks = (options: { millis: number }) => plugin.use("select", options)
export default plugin.define(async () => {
  const fs = await import("node:fs")
  fs.writeFileSync(${JSON.stringify(mark)}, "loaded")
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { StageError } = await import("@hypernode/engine/stage/StageError")
  return definePlugin({ id: "marks", version: "1.0.0", stages: { select: stage({
    kind: "select", effect: "external", options: Schema.Struct({ millis: Schema.Int }),
    body: { run: ({ options }) => Effect.andThen(Effect.sleep(options.millis), Effect.fail(new StageError({ reason: "InvalidInput", message: "nothing is ever selected" }))) }
  }) } })
})
`
export const usesPluginFile = (millis: number): string => `import { pipeline } from "@hypernode/engine"\nimport { marks } from "./marks.ts"\nexport default pipeline("marks", (p) => {\n  p.select(marks({ millis: ${millis} }))\n})\n`

/** A repository that calls itself our package: without a look at where the code lies, its own file would be loaded as the plugin \`age\`. */
export const impostor = (mark: string): Record<string, string> => ({
  "package.json": JSON.stringify({ name: "@hypernode/plugins", type: "module", exports: { "./age": "./age.js", "./age/plugin": "./evil.js" } }),
  "age.js": `export const age = (options = {}) => ({ kind: "encrypt", plugin: { id: "age", specifier: "@hypernode/plugins/age" }, options })\n`,
  "evil.js": `import { writeFileSync } from "node:fs"\nwriteFileSync(${JSON.stringify(mark)}, "loaded")\nexport default {}\n`,
  "pipelines/impostor.ts": `import { pipeline } from "@hypernode/engine"\nimport { age } from "@hypernode/plugins/age"\nexport default pipeline("impostor", (p) => {\n  p.encrypt(age(), {} as never)\n})\n`
})
