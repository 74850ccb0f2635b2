/** Throw-away projects: a directory with pipeline files and one plugin file that implements every kind. */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync, realpathSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll } from "vitest"

const made: Array<string> = []
afterAll(() => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true })
})

export const directory = (): string => {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "hyper-plan-")))
  made.push(path)
  return path
}

export const write = (at: string, files: Readonly<Record<string, string>>): string => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(at, name)), { recursive: true })
    writeFileSync(join(at, name), text)
  }
  return at
}

/** Every kind; `train` has options with a nested struct, defaults and a secret; `train` costs something. */
export const PLUGINS = `
import { pluginFrom } from "@hypernode/engine"
const plugin = pluginFrom(import.meta.url, "every")
export const pick = (options: unknown = {}) => plugin.use("select", options)
export const seal = (options: unknown = {}) => plugin.use("encrypt", options)
export const split = (options: unknown = {}) => plugin.use("shard", options)
export const learn = (options: unknown = {}) => plugin.use("train", options)
export const best = (options: unknown = {}) => plugin.use("checkpoint", options)
export const pack = (options: unknown = {}) => plugin.use("package", options)
export const run = (options: unknown = {}) => plugin.use("serve", options)
export const pay = (options: unknown = {}) => plugin.use("reward", options)
export default plugin.define(async () => {
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  const { SecretRef } = await import("@hypernode/engine/capability/Secrets")
  const simple = (kind) => stage({ kind, effect: "pure", options: Schema.Struct({}), body: { run: () => Effect.succeed({}) } })
  return definePlugin({
    id: "every",
    version: "1.2.3",
    stages: {
      select: simple("select"), encrypt: simple("encrypt"), checkpoint: simple("checkpoint"), package: simple("package"), serve: simple("serve"), reward: simple("reward"),
      shard: stage({ kind: "shard", effect: "pure", options: Schema.Struct({ parts: Schema.Int.check(Schema.isGreaterThan(0)) }), body: { run: () => Effect.succeed({}) } }),
      train: stage({
        kind: "train",
        effect: "pure",
        options: Schema.Struct({
          method: Schema.Literals(["lora", "full"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("lora"))),
          epochs: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
          lr: Schema.optionalKey(Schema.Number),
          lora: Schema.optionalKey(Schema.Struct({ rank: Schema.Int })),
          token: Schema.optionalKey(SecretRef)
        }),
        fingerprint: () => Effect.succeed({ trainer: "t1" }),
        estimate: () => Effect.succeed({ seconds: [10, 20], downloadBytes: 5, notes: [{ level: "refuse", message: "no python", remedy: "install it" }], sideEffects: ["starts a process"], tools: ["python3"], hosts: ["local"] }),
        body: { run: () => Effect.succeed({}) }
      })
    }
  })
})
`

/** A pipeline file over PLUGINS; `body` sees p, secret and the factories. */
export const file = (body: string, before = ""): string => `import { pipeline, secret } from "@hypernode/engine"
import { pick, seal, split, learn, best, pack, run, pay } from "./plugins.ts"
${before}
export default pipeline("sample", (p) => {
${body}
})
`

export const CHAIN = `  const { model, dataset } = p.select(pick())
  const sealed = p.encrypt(seal(), { dataset })
  const shards = p.shard(split({ parts: 2 }), { sealed, model })
  const trained = p.train(learn({ lr: p.param("lr", 2e-4), token: secret("HF_TOKEN") }), { model, shards })
  const checkpoint = p.checkpoint(best(), { trained })
  const packaged = p.package(pack(), { checkpoint })
  const endpoint = p.serve(run(), { packaged })
  p.reward(pay(), { trained, endpoint })`

/** A project with plugins.ts and one pipeline file; gives the file's path. */
export const project = (text: string, name = "pipeline.ts"): string => join(write(directory(), { "plugins.ts": PLUGINS, [name]: text }), name)
