/** What a policy says, what it refuses, and which files are pipelines: the rules themselves. Driven whole by packages/cli/test/watch.live.test.ts. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { parseBranch, parsePath } from "../../src/git/address.ts"
import { gitFailure } from "../../src/git/failures.ts"
import type { Mirror, TreeFile } from "../../src/git/Git.ts"
import { printable } from "../../src/git/printable.ts"
import { parseForge } from "../../src/watch/forge.ts"
import { estimateRefusals, mayRun, planRefusals, pluginRefusals } from "../../src/watch/judge.ts"
import { pipelineFiles } from "../../src/watch/pipelineFiles.ts"
import { planOnly, readPolicy } from "../../src/watch/Policy.ts"
import { noteOf, statusOf } from "../../src/watch/reportOf.ts"
import { beyond } from "../../src/watch/WatchedRuns.ts"
import type { WatchedFile } from "../../src/watch/WatchStore.ts"

let root: string
let tree: string
let project: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "hp-"))
  tree = join(root, "tree")
  project = join(tree, "pipelines")
  mkdirSync(project, { recursive: true })
  mkdirSync(join(root, "data"))
  writeFileSync(join(root, "data/x.jsonl"), "")
  writeFileSync(join(tree, "x.jsonl"), "")
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const planWith = (options: unknown, secrets: ReadonlyArray<string> = []) => ({ version: 1 as const, pipeline: "p", params: {}, secrets, steps: [{ id: "s", kind: "select", plugin: {} as never, options: options as never, inputs: {} }] })
const refusals = (options: unknown, policy = planOnly) => planRefusals(planWith(options), project, tree, policy, true).map(({ message }) => message)

describe("a policy file", () => {
  it("says no to everything it does not name", () => {
    expect(planOnly).toEqual({ run: false, plugins: ["@hypernode/plugins"], secrets: [], hosts: ["huggingface.co"], data: [], unconfined: false, params: {}, limits: {} })
    expect(readPolicy(`{"run": true, "limits": {"seconds": 60}}`)).toMatchObject({ run: true, limits: { seconds: 60 }, secrets: [] })
    for (const wrong of [`{"runn": true}`, `{"run": "yes"}`, `{"limits": {"seconds": -1}}`, `{"limits": {"hours": 1}}`, `[]`, `{`]) expect(() => readPolicy(wrong), wrong).toThrow()
  })

  it("decides which files may run", () => {
    const policy = readPolicy(`{"run": true, "paths": ["./pipelines/", "one.ts"]}`)
    expect([mayRun("pipelines/a/b.ts", policy), mayRun("one.ts", policy)]).toEqual([undefined, undefined])
    for (const file of ["pipelines.ts", "pipelinesx/a.ts", "two.ts"]) expect(mayRun(file, policy)).toContain("paths")
    expect(mayRun("pipelines/a.ts", planOnly)).toContain("run")
  })

  it("limits time and money", () => {
    expect([beyond({}, 1e9, 1e9), beyond({ seconds: 5, dollars: 1 }, 5, 1)]).toEqual([undefined, undefined])
    expect(beyond({ seconds: 5 }, 5.1, 0)).toContain("5 s")
    expect(beyond({ dollars: 0.5 }, 0, 0.51)).toContain("$0.5")
  })
})

describe("options of a pushed plan", () => {
  it("name nothing outside the repository", () => {
    for (const fine of ["../x.jsonl", "./a/../../x.jsonl", "hf://datasets/o/r/x.jsonl", "What is 1/2?", "a..b", join("..", "..", "tree", "x.jsonl")]) expect(refusals({ dataset: fine }), fine).toEqual([])
    for (const bad of ["/etc/passwd", "../../data/x.jsonl", "~/x", "file:///etc/passwd", join(root, "data/x.jsonl"), "../../treex"]) expect(refusals({ deep: [{ dataset: bad }] }), bad).toHaveLength(1)
    expect(refusals({ dataset: join(root, "data/x.jsonl") }, readPolicy(JSON.stringify({ data: [join(root, "data")] })))).toEqual([])
    expect(refusals({ dataset: join(root, "datax") }, readPolicy(JSON.stringify({ data: [join(root, "data")] })))).toHaveLength(1)
  })

  it("do not leave by a link below a permitted directory", () => {
    symlinkSync("/etc", join(root, "data/out"))
    expect(refusals({ dataset: join(root, "data/out/passwd") }, readPolicy(JSON.stringify({ data: [join(root, "data")] })))).toHaveLength(1)
  })

  it("name no secret and no host but those of the policy", () => {
    expect(planRefusals(planWith({}, ["A", "B"]), project, tree, readPolicy(`{"secrets": ["A"]}`), true).map(({ remedy }) => remedy)).toEqual([`add "B" to "secrets" in the policy file`])
    const estimate = { notes: [], sideEffects: [], tools: [], hosts: ["huggingface.co", "10.0.0.1"] }
    expect(estimateRefusals([{ step: "s", estimate }], planOnly)).toHaveLength(1)
  })
})

describe("a sandbox", () => {
  it("is not for a pusher to leave out", () => {
    const refused = (sandbox: string, canConfine: boolean, policy = planOnly) => planRefusals(planWith({ sandbox }), project, tree, policy, canConfine).length
    expect([refused("required", true), refused("auto", true), refused("none", true), refused("required", false), refused("auto", false), refused("none", false)]).toEqual([0, 0, 1, 0, 1, 1])
    expect(refused("none", false, readPolicy(`{"unconfined": true}`))).toBe(0)
  })
})

describe("plugins of a pushed plan", () => {
  const raw = (specifier: unknown) => ({ steps: [{ plugin: { specifier } }] }) as never
  const refused = async (specifier: unknown, plugins?: ReadonlyArray<string>) => (await pluginRefusals(raw(specifier), project, tree, plugins === undefined ? planOnly : readPolicy(JSON.stringify({ plugins })))).map(({ message }) => message)

  it("are told by where their code lies", async () => {
    writeFileSync(join(project, "mine.ts"), "")
    writeFileSync(join(root, "theirs.ts"), "")
    expect(await refused("@hypernode/plugins/age")).toEqual([])
    expect(await refused("@hypernode/plugins/age", [])).toHaveLength(1)
    expect(await refused("@hypernode/plugins/age", ["@hypernode/plugins/a"])).toHaveLength(1)
    for (const file of ["./mine.ts", join(project, "mine.ts"), `file://${project}/mine.ts`]) {
      expect(await refused(file)).toEqual([expect.stringContaining("code of the repository")])
      expect(await refused(file, ["./"])).toEqual([])
    }
    // also with "./": no file of this machine beside the repository
    expect(await refused(join(root, "theirs.ts"), ["./"])).toEqual([expect.stringContaining("outside the repository")])
    expect(await refused(join("..", "..", "theirs.ts"), ["./"])).toHaveLength(1)
    // the evaluated file says what it likes
    for (const odd of [7, null, undefined, {}, "@hypernode/plugins/../../../../etc/x"]) expect(await refused(odd)).toEqual([])
    expect(await pluginRefusals({ steps: "x" } as never, project, tree, planOnly)).toEqual([])
  })
})

describe("pipeline files", () => {
  const found = (files: Record<string, string>, path = "", mode = "100644") => {
    const tree: Array<TreeFile> = Object.keys(files).map((name) => ({ path: name, mode, object: name, size: 1 }))
    return Effect.runPromise(pipelineFiles({ read: (file: TreeFile) => Effect.succeed(files[file.path] as string) } as unknown as Mirror, tree, path))
  }
  const source = `import { secret, pipeline } from "@hypernode/engine"\n`

  it("import pipeline, and lie below the path", async () => {
    expect(await found({ "b.ts": source, "a/c.mjs": `import {\n  pipeline\n} from '@hypernode/engine'`, "broken.ts": `${source}export default (((` })).toEqual(["a/c.mjs", "b.ts", "broken.ts"])
    expect(await found({ "plugin.ts": `import { pluginFrom } from "@hypernode/engine"`, "t.ts": `import type { pipeline } from "@hypernode/engine"`, "d.d.ts": source, "x.json": source, ".hidden/a.ts": source, "node_modules/a.ts": source, "n.ts": "1" })).toEqual([])
    expect(await found({ "a/b.ts": source, "ab.ts": source, "x.ts": "1" }, "a")).toEqual(["a/b.ts"])
    expect(await found({ "x.ts": "1" }, "x.ts")).toEqual(["x.ts"])
    expect(await found({ "x.ts": source }, "", "120000")).toEqual([])
  })
})

describe("words", () => {
  it("of others reach no terminal as they are", () => {
    expect(printable("a\u001b[31mb\nc\u202ed\u0000")).toBe("a [31mb c d")
    expect(printable("x".repeat(400))).toHaveLength(301)
    const failure = gitFailure(new Error("fatal: unable to access 'x': s3cret \u001b[2J"), { url: "https://h/r", transport: "https", host: "h" }, "fetching", ["s3cret"])
    expect(failure.message).not.toMatch(/s3cret|\p{Cc}/u)
    expect(failure.reason).toBe("Unreachable")
  })

  it("name branches, paths and forges, and nothing like an option", () => {
    expect([parseBranch("main"), parseBranch("refs/heads/a/b"), parsePath("./a/b/"), parsePath("")]).toEqual(["main", "a/b", "a/b", ""])
    for (const bad of ["", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "@{u}", "x.lock", "a//b", "/a", "a/"]) expect(() => parseBranch(bad), bad).toThrow()
    for (const bad of ["/etc", "../x", "a/../../b", "-x"]) expect(() => parsePath(bad), bad).toThrow()
    expect(parseForge("github=https://github.com/o/r.git")).toEqual({ forge: "github", url: "https://github.com/o/r" })
    for (const bad of ["https://github.com/o/r", "svn=https://h/o/r", "github=http://example.org/o/r", "github=https://t@github.com/o/r", "github=https://github.com/o"]) expect(() => parseForge(bad), bad).toThrow()
  })

  it("of a report fit its forge, and hold no key", () => {
    const row: WatchedFile = { watch: "w", commit: "c", file: "a.ts", state: "failed", runId: "r", planDigest: "sha256:1", message: `select: ${"x".repeat(500)}\nmore`, remedy: null, endpoint: null, dollars: 0, limits: null }
    expect(statusOf(row)).toMatchObject({ state: "failure", context: "hyper/a.ts", description: expect.stringMatching(/^run r failed: select: x+…$/) })
    expect(JSON.parse(noteOf("c", "main", [row]))).toMatchObject({ hyper: 1, commit: "c", pipelines: [{ file: "a.ts", state: "failed", run: "r", plan: "sha256:1", dollars: 0 }] })
  })
})
