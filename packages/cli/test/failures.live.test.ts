/** What the user of `hyper` sees, and gets back, when something underneath is damaged, missing, newer or killed. */
import { spawnSync } from "node:child_process"
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { homeAt } from "@hypernode/engine/Home"
import type { StoredEvent } from "@hypernode/engine/run/RunEvent"
import * as Database from "@hypernode/engine/store/Database"
import { findDataDirectory } from "@hypernode/engine/store/postgres/Placement"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Hyper, repository, type Result, runTwice } from "./Hyper.ts"

const at = (name: string) => join(repository, "packages/cli/test/pipelines", name)
const tinyLlama = join(repository, "fixtures/models/tiny-llama")
const python = process.env["HYPER_PYTHON"]
if (python === undefined && process.env["CI"] === "true") throw new Error("HYPER_PYTHON must name a Python with the pins of the trainer")
const root = process.getuid?.() === 0
const said = (result: Result) => result.stdout + result.stderr

let hyper: Hyper
beforeEach(() => { hyper = new Hyper() })
afterEach(async () => { expect(await hyper.close()).toEqual([]) })

const blobs = (of: Hyper) => join(of.root, "artifacts/blobs/sha256")
const largestBlob = (of: Hyper): string =>
  readdirSync(blobs(of)).map((name) => join(blobs(of), name)).reduce((a, b) => (statSync(a).size >= statSync(b).size ? a : b))

const flipByte = (path: string) => {
  const bytes = readFileSync(path)
  bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
  chmodSync(path, 0o600)
  writeFileSync(path, bytes)
}

/** A directory of the user's own, with packages to import, below the test's home. */
const project = (files: Readonly<Record<string, string>>): string => {
  const directory = join(hyper.home, "project")
  mkdirSync(directory)
  symlinkSync(join(repository, "node_modules"), join(directory, "node_modules"))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

const modelWithout = (...names: ReadonlyArray<string>): string => {
  const directory = join(hyper.home, "bare-model")
  cpSync(tinyLlama, directory, { recursive: true })
  for (const name of names) rmSync(join(directory, name))
  return directory
}

const noRuns = async () => { expect((await hyper.run("runs", "--json")).stdout.trim()).toBe("[]") }

describe("a damaged artifact", () => {
  it("is refused by the step that reads it, with its path; deleted, it is made again", async () => {
    expect((await hyper.run("run", at("model.ts"))).code).toBe(0)
    const blob = largestBlob(hyper)
    const tokenizer = join(blobs(hyper), readdirSync(blobs(hyper)).find((name) => readFileSync(join(blobs(hyper), name)).equals(readFileSync(join(tinyLlama, "tokenizer.json")))) as string)
    flipByte(tokenizer)
    // another segment size: sealing reads the tokenizer, and only the selection is cached
    const again = ["run", at("model.ts"), "--param", "segmentBytes=1048576"]
    const damaged = await hyper.run(...again)
    expect(damaged.code).toBe(1)
    expect(said(damaged)).toContain(tokenizer)
    expect(said(damaged)).toMatch(/Delete .* and run again/)
    rmSync(tokenizer)
    const mended = await hyper.run(...again)
    expect(mended.code, said(mended)).toBe(0)
    expect(readFileSync(tokenizer).equals(readFileSync(join(tinyLlama, "tokenizer.json")))).toBe(true)
    // also a file that no step of this run would have read
    rmSync(blob)
    const planned = JSON.parse((await hyper.run("plan", ...again.slice(1), "--json")).stdout) as { steps: ReadonlyArray<{ cached: boolean; why: string }> }
    expect(planned.steps[0]).toMatchObject({ cached: false, why: expect.stringContaining("no longer in the artifact store") as string })
    const whole = await hyper.run(...again)
    expect(whole.code, said(whole)).toBe(0)
    expect(existsSync(blob)).toBe(true)
  })
})

describe("a machine that lacks something", () => {
  it("refuses to train without Python, at plan time", async () => {
    hyper.env["HYPER_PYTHON"] = "/nonexistent/python"
    const planned = await hyper.run("plan", at("whole.ts"))
    expect(said(planned)).toMatch(/\/nonexistent\/python[^]*(Unset HYPER_PYTHON|pip install)/)
    expect(existsSync(hyper.root)).toBe(false)
    const result = await hyper.run("run", at("whole.ts"))
    expect(result.code).toBe(4)
    expect(result.stderr).toMatch(/train:.*\/nonexistent\/python[^]*(Unset HYPER_PYTHON|pip install)/)
    await noRuns()
    expect(readdirSync(blobs(hyper))).toEqual([])
  })

  it.skipIf(!root || python === undefined)("refuses to train unconfined where confinement is required, at plan time", async () => {
    // bubblewrap is looked for beyond PATH, so it is hidden in a mount namespace of its own
    const bwrap = spawnSync("sh", ["-c", "command -v bwrap"], { encoding: "utf8" }).stdout.trim()
    const hide = bwrap === "" ? "true" : `mount --bind /dev/null ${bwrap}`
    const hidden = spawnSync("unshare", ["-m", "sh", "-c", `${hide} && exec "$@"`, "sh", process.execPath, join(repository, "packages/cli/bin/hyper.js"), "run", at("confined.ts")], { cwd: repository, env: hyper.env, encoding: "utf8" })
    expect(hidden.status, hidden.stderr).toBe(4)
    expect(hidden.stderr).toMatch(/train:.*(sandbox|bubblewrap)[^]*apt-get install bubblewrap/)
    await noRuns()
  })

  it("refuses a model without a tokenizer, and names the file to add", async () => {
    const directory = modelWithout("tokenizer.json", "tokenizer_config.json")
    const result = await hyper.run("run", at("model.ts"), "--param", `model=${directory}`)
    expect(result.code).toBe(4)
    expect(result.stderr).toContain(directory)
    expect(result.stderr).toMatch(/tokenizer\.json[^]*save_pretrained/)
    await noRuns()
  })
})

describe("what the user wrote", () => {
  it("names place and remedy for a wrong option in plain JavaScript", async () => {
    const source = (options: string) => `import { pipeline } from "@hypernode/engine"\nimport { local } from "@hypernode/plugins/local"\nexport default pipeline("mine", (p) => {\n  p.select(local(${options}))\n})\n`
    const directory = project({ "unknown.js": source(`{ modle: "x", dataset: "y" }`), "type.js": source(`{ model: 7, dataset: "y" }`) })
    const unknown = await hyper.run("run", join(directory, "unknown.js"))
    expect(unknown.code).toBe(3)
    expect(unknown.stderr).toMatch(/unknown\.js:4:\d+: .*modle[^]*did you mean "model"/)
    const type = await hyper.run("plan", join(directory, "type.js"))
    expect(type.code).toBe(3)
    expect(type.stderr).toMatch(/type\.js:4:\d+: .*options\.model: expected string, got 7/)
    await noRuns()
  })
})

describe("the database", () => {
  const sql = (statement: (client: SqlClient) => Effect.Effect<unknown, unknown>) =>
    Effect.runPromise(
      Effect.scoped(Effect.flatMap(SqlClient, statement).pipe(Effect.provide(Database.layer.pipe(Layer.provide(Layer.succeed(CurrentHome, homeAt(hyper.root, hyper.env["HYPER_CACHE"] as string)))))))
    )

  it("of a newer version is left alone", async () => {
    expect((await hyper.run("runs")).code).toBe(0)
    await hyper.run("stop")
    await sql((client) => client`INSERT INTO hyper_schema (version, name) VALUES (9999, '9999_from_the_future')`)
    const newer = await hyper.run("run", at("sealed.ts"))
    expect(newer.code).toBe(4)
    expect(newer.stderr).toMatch(/schema 9999 is newer[^]*upgrade hyper/)
    expect(existsSync(join(hyper.root, "steps"))).toBe(false)
    expect(hyper.daemonPid()).toBeUndefined()
  })

  it("in a directory that it may not use is named with its path, and works once it may", async () => {
    expect((await hyper.run("runs")).code).toBe(0)
    await hyper.run("stop")
    const directory = await findDataDirectory(homeAt(hyper.root, hyper.env["HYPER_CACHE"] as string)) as string
    const { gid, mode, uid } = statSync(directory)
    if (root) chownSync(directory, 0, 0)
    else chmodSync(directory, 0o500)
    const refused = await hyper.run("run", at("sealed.ts"))
    expect(refused.code).toBe(4)
    expect(refused.stderr).toContain(directory)
    expect(refused.stderr).toMatch(/writ|ownership|Permission/i)
    expect(refused.stderr).toMatch(/HYPER_HOME|DATABASE_URL/)
    if (root) chownSync(directory, uid, gid)
    else chmodSync(directory, mode)
    expect((await hyper.run("runs")).code).toBe(0)
  })

  it("that DATABASE_URL names and nobody answers is told without the password", async () => {
    hyper.env["DATABASE_URL"] = "postgres://somebody:pass-7f3a91@127.0.0.1:9/nowhere"
    const result = await hyper.run("run", at("sealed.ts"))
    expect([4, 6]).toContain(result.code)
    expect(result.stderr).toMatch(/DATABASE_URL[^]*ECONNREFUSED[^]*check that the server runs/)
    const everything = said(result) + readFileSync(join(hyper.root, "daemon.log"), "utf8")
    expect(everything).not.toContain("pass-7f3a91")
    expect(readdirSync(blobs(hyper))).toEqual([])
    delete hyper.env["DATABASE_URL"]
    expect((await hyper.run("runs")).code).toBe(0)
  })
})

describe("kill -9 of the daemon at a random moment", () => {
  /** Mulberry32: the same moments at every test. */
  const random = (seed: number) => () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  it("never loses or repeats a step", async () => {
    const next = random(20_260_719)
    for (let round = 0; round < 8; round++) {
      // a data set of its own for each round, so that nothing comes from the cache
      const dataset = join(hyper.home, `rows-${round}.jsonl`)
      writeFileSync(dataset, readFileSync(join(repository, "fixtures/data/tickets.jsonl"), "utf8") + `${JSON.stringify({ messages: [{ role: "user", content: `round ${round}` }, { role: "assistant", content: "yes" }] })}\n`)
      const submitted = await hyper.run("run", at("sealed.ts"), "--detach", "--json", "--param", `dataset=${dataset}`)
      expect(submitted.code, said(submitted)).toBe(0)
      const runId = Hyper.lines(submitted).map((line) => line["runId"]).findLast((id) => typeof id === "string") as string
      const moment = Math.floor(next() * 1_500)
      await sleep(moment)
      process.kill(hyper.daemonPid() as number, "SIGKILL")
      const ended = await hyper.run("status", runId, "--watch", "--json")
      expect(ended.code, `round ${round}, ${moment} ms: ${said(ended)}`).toBe(0)
      const events = await hyper.events(runId)
      expect(events.at(-1)?.event).toMatchObject({ _tag: "RunEnded", outcome: "succeeded" })
      expect(events.filter(({ event }) => event._tag === "StepEnded")).toHaveLength(3)
      expect(runTwice(events), `round ${round}, ${moment} ms`).toEqual([])
      // the check catches one that is planted
      const double = events.find(({ event }) => event._tag === "StepStarted") as StoredEvent
      expect(runTwice([...events, double])).toEqual(["StepStarted select"])
    }
  })
})
