/** `npm pack` of every package, installed in an empty directory, runs the user's own pipeline.ts. */
import { spawn } from "node:child_process"
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { repository } from "./Hyper.ts"
import { install, remove, sh } from "./packed.ts"

const PIPELINE = `import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { local } from "@hypernode/plugins/local"
import { dealt } from "./dealt.ts"

export default pipeline("own", (p) => {
  const { model, dataset } = p.select(local({ model: "./model", dataset: "./data.jsonl" }))
  const sealed = p.encrypt(age(), { dataset, model })
  const parts: number = p.param("parts", 2)
  p.shard(dealt({ parts }), { sealed, model })
})
`
const DEALT = `import { pluginFrom } from "@hypernode/engine"
const plugin = pluginFrom(import.meta.url, "dealt")
export const dealt = (options: { readonly parts: number }) => plugin.use("shard", options)
export default plugin.define(async () => {
  const Effect = await import("effect/Effect")
  const Schema = await import("effect/Schema")
  const { definePlugin, stage } = await import("@hypernode/engine/plugin/Plugin")
  return definePlugin({ id: "dealt", version: "1.0.0", stages: { shard: stage({ kind: "shard", effect: "pure", options: Schema.Struct({ parts: Schema.Int }), body: { run: ({ input }) => Effect.succeed({ sealed: input.sealed, slots: [] }) } }) } })
})
`
const PLAN = `import * as Effect from "effect/Effect"
import { planFile } from "@hypernode/engine/plan/planFile"
import * as Registry from "@hypernode/engine/plugin/Registry"
const { plan, projectDirectory } = await Effect.runPromise(planFile("pipeline.ts", { estimate: false, params: { parts: "3" } }))
const loaded = await Effect.runPromise(Effect.forEach(plan.steps, (step) => Registry.load(step, projectDirectory)))
process.stdout.write(JSON.stringify({ plan, kinds: loaded.map(({ definition }) => definition.kind) }))
`

describe("the packed packages", () => {
  let at: ReturnType<typeof install>
  beforeAll(() => {
    at = install()
    writeFileSync(join(at.directory, "pipeline.ts"), PIPELINE)
    writeFileSync(join(at.directory, "dealt.ts"), DEALT)
    writeFileSync(join(at.directory, "plan.js"), PLAN)
  }, 600_000)
  afterAll(() => at !== undefined && remove(at.directory))

  it("are all there, as JavaScript with types, without sources or tests", () => {
    expect(at.tarballs).toHaveLength(5)
    for (const name of ["engine", "plugins", "api", "cli", "ui"]) {
      const folder = join(at.directory, "node_modules/@hypernode", name)
      expect(existsSync(join(folder, "dist")), name).toBe(true)
      expect(existsSync(join(folder, "LICENSE")), name).toBe(true)
      const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => !file.includes("node_modules"))
      expect(files.filter((file) => /^(src|test)\//.test(file) || /(?<!\.d)\.ts$/.test(file)), name).toEqual([])
    }
  })

  it("give the engine to a plain import", () => {
    expect(sh(at.node, ["-e", `import("@hypernode/engine").then((engine) => console.log(Object.keys(engine).sort().join(" ")))`], at.directory).trim()).toBe("pipeline pluginFrom secret stageKinds use")
  })

  it("plan the user's own pipeline, with a plugin of ours and one of his own, and load both", () => {
    const { kinds, plan } = JSON.parse(sh(at.node, ["plan.js"], at.directory)) as { kinds: Array<string>; plan: { params: unknown; steps: Array<{ plugin: { id: string; specifier: string }; options: unknown }> } }
    expect(plan.steps.map((step) => step.plugin.specifier)).toEqual(["@hypernode/plugins/local", "@hypernode/plugins/age", "./dealt.ts"])
    expect(plan.steps[2]!.options).toEqual({ parts: 3 })
    expect(plan.params).toEqual({ parts: 3 })
    expect(kinds).toEqual(["select", "encrypt", "shard"])
  })

  it("plan the same from a pack (bin/pack.js) of what is installed", () => {
    const cli = join(at.directory, "node_modules/@hypernode/cli")
    // 4: the plan is there, and refused, as the pipeline's model is not
    const refused = ["-c", '"$@"; [ $? = 4 ]', "sh", at.node, join(cli, "bin/hyper.js"), "plan", "pipeline.ts", "--json"]
    const plan = (cache: string): unknown => JSON.parse(sh("/bin/sh", refused, at.directory, { ...process.env, HYPER_HOME: join(at.directory, "h"), HYPER_CACHE: join(at.directory, cache) }))
    const made = sh(at.node, ["--experimental-import-meta-resolve", "--no-warnings", join(cli, "dist/pack/build.js"), join(at.directory, "packed"), "plan"], at.directory)
    expect(made).toMatch(/^plan: \d{3} modules/)
    expect(plan("packed")).toEqual(plan("plain"))
  })

  it("keep a pipeline file out of what it may not read", () => {
    writeFileSync(join(at.directory, "reads.ts"), `import { readFileSync } from "node:fs"\nreadFileSync("/etc/hostname")\n${PIPELINE}`)
    writeFileSync(join(at.directory, "reads.js"), PLAN.replace("pipeline.ts", "reads.ts"))
    expect(() => sh(at.node, ["reads.js"], at.directory)).toThrow(/reads\.ts:2.*cannot read a file outside its project/)
  })

  it("type-check a pipeline file against their declarations", () => {
    writeFileSync(join(at.directory, "wrong.ts"), PIPELINE.replace(`parts })`, `parts: "x" })`))
    writeFileSync(join(at.directory, "types.js"), `import { checkTypes } from "@hypernode/engine/plan/types"\nfor (const file of ["pipeline.ts", "wrong.ts"]) console.log((await checkTypes(file))?.message ?? "fits")\n`)
    const [fits, wrong] = sh(at.node, ["types.js"], at.directory).trim().split("\n")
    expect(fits).toBe("fits")
    expect(wrong).toMatch(/wrong\.ts:10:\d+: TS2322: Type 'string' is not assignable to type 'number'/)
  })

  it.skipIf(process.env["HYPER_PYTHON"] === undefined)("run it: all eight stages, the page, and hyper stop, with nothing of the repository", async () => {
    cpSync(join(repository, "fixtures/models/tiny-llama"), join(at.directory, "model"), { recursive: true })
    cpSync(join(repository, "fixtures/data/tickets.jsonl"), join(at.directory, "data.jsonl"))
    writeFileSync(
      join(at.directory, "whole.ts"),
      readFileSync(join(repository, "packages/cli/test/pipelines/whole.ts"), "utf8")
        .replaceAll("../../../../fixtures/models/tiny-llama", "./model")
        .replaceAll("../../../../fixtures/data/tickets.jsonl", "./data.jsonl")
    )
    const env = { ...process.env, HYPER_HOME: join(at.directory, ".hyper"), HYPER_CACHE: join(at.directory, ".cache"), HYPER_GATEWAY_PORT: "", NODE_OPTIONS: "" }
    const hyper = (...args: ReadonlyArray<string>) => sh("npx", ["--no-install", "hyper", ...args], at.directory, env)
    try {
      const lines = hyper("run", "whole.ts", "--json", "--param", "maxSteps=20").trim().split("\n").map((line) => JSON.parse(line) as { type: string; state?: string; endpoint?: { url: string; model: string; key: string } })
      const summary = lines.at(-1)
      expect(summary).toMatchObject({ type: "summary", state: "succeeded", endpoint: { model: "whole" } })
      const answer = await fetch(`${summary?.endpoint?.url}/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${summary?.endpoint?.key}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "whole", messages: [{ role: "user", content: "Are you open on Tuesday?" }], max_tokens: 16 })
      })
      expect(answer.status).toBe(200)
      const serve = spawn("npx", ["--no-install", "hyper", "serve", "--port", "0", "--json"], { cwd: at.directory, env, stdio: ["ignore", "pipe", "inherit"] })
      const url = await new Promise<string>((found) => serve.stdout.once("data", (chunk: Buffer) => found((JSON.parse(chunk.toString().split("\n")[0] ?? "") as { url: string }).url)))
      const page = await fetch(url)
      expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("<script")])
      serve.kill("SIGINT")
    } finally {
      hyper("stop")
    }
  }, 400_000)
})
