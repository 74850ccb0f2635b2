/** The Python environment, made by the real venv and pip from a local wheel: no network. */
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Progress } from "@hypernode/engine/stage/Progress"
import { environmentPlan, pythonEnvironment } from "../../src/trainer/Environment.ts"
import { inspectOnce } from "../../src/trainer/InspectionMemo.ts"
import { parsePins } from "../../src/trainer/Requirements.ts"
import { systemPython } from "../../src/trainer/SystemPython.ts"
import { writeTinyWheel } from "./tinyWheel.ts"

let root: string
const at = (name: string) => join(root, name)
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "he-"))
  mkdirSync(at("wheels"))
  writeFileSync(at("requirements.txt"), "hyper_tiny==1.0.0\n")
  writeTinyWheel(at("wheels"), "hyper_tiny", "1.0.0")
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** An index where nobody listens. */
const UNREACHABLE = "http://127.0.0.1:9/simple"

const build = (link: string, env: Record<string, string>, umask = "022") => {
  const { HYPER_PYTHON: _, PIP_FIND_LINKS: __, ...rest } = process.env
  const child = spawn("/bin/sh", ["-c", `umask ${umask}; exec "$@"`, "sh", process.execPath, join(import.meta.dirname, "buildOnce.ts"), link, at("requirements.txt")], { env: { ...rest, ...env }, stdio: ["ignore", "pipe", "inherit"] })
  let said = ""
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  return { child, done: new Promise<string>((resolve) => child.once("close", () => resolve(said))), said: () => said }
}

const imports = (link: string): string => execFileSync(join(link, "bin/python"), ["-c", "import hyper_tiny; print(hyper_tiny.version)"], { encoding: "utf8" }).trim()
const builds = (): ReadonlyArray<string> => readdirSync(at("python")).filter((name) => /^e-\d+-[a-z0-9]+$/.test(name))

describe("the environment", () => {
  it("is made from local wheels when the index does not answer, announced, and readable to others whatever the umask", async () => {
    const said = await build(at("python/e"), { PIP_FIND_LINKS: at("wheels"), PIP_INDEX_URL: UNREACHABLE }, "077").done
    expect(said).toContain("The package index does not answer")
    expect(said).toMatch(/Installing 1 pinned packages: about \d+ GB/)
    expect(said).toContain("hyper_tiny-1.0.0-py3-none-any.whl")
    expect(imports(at("python/e"))).toBe("1.0.0")
    expect(lstatSync(at("python/e")).isSymbolicLink()).toBe(true)
    expect(statSync(at("python/e/bin")).mode & 0o005).toBe(0o005)
    expect(await build(at("python/e"), { PIP_INDEX_URL: UNREACHABLE }).done).toBe("made\n")
  })

  it("an index that does not answer and nothing local: said at once, nothing half-made", async () => {
    const said = await build(at("python/e"), { PIP_INDEX_URL: UNREACHABLE }).done
    expect(JSON.parse(said.trim().split("\n").at(-1)!)).toMatchObject({ reason: "Unavailable", message: expect.stringContaining("127.0.0.1:9"), remedy: expect.stringContaining("HYPER_PYTHON") })
    expect(builds()).toEqual([])
    expect(existsSync(at("python/e"))).toBe(false)
  })

  it("a pin that nobody has is named", async () => {
    writeFileSync(at("requirements.txt"), "hyper_tiny==2.0.0\n")
    const said = await build(at("python/e"), { PIP_FIND_LINKS: at("wheels"), PIP_NO_INDEX: "1" }).done
    expect(JSON.parse(said.trim().split("\n").at(-1)!)).toMatchObject({ reason: "Unavailable", message: expect.stringContaining("hyper_tiny==2.0.0") })
  })

  it("two processes make it once", async () => {
    const env = { PIP_FIND_LINKS: at("wheels"), PIP_NO_INDEX: "1" }
    const said = await Promise.all([build(at("python/e"), env).done, build(at("python/e"), env).done])
    expect(said.map((text) => text.trim().split("\n").at(-1))).toEqual(["made", "made"])
    expect(said.filter((text) => text.includes("Making a Python"))).toHaveLength(1)
    expect(builds()).toHaveLength(1)
  })

  it("after a kill -9 while it is made, nobody goes on with the half, and the next start makes it whole", async () => {
    const env = { PIP_FIND_LINKS: at("wheels"), PIP_NO_INDEX: "1" }
    const first = build(at("python/e"), env)
    for (let i = 0; i < 600 && !(existsSync(at("python")) && builds().length > 0); i++) await new Promise((resolve) => setTimeout(resolve, 20))
    const [half] = builds()
    expect(half).toBeDefined()
    first.child.kill("SIGKILL")
    await first.done
    expect(existsSync(at("python/e"))).toBe(false)
    expect(await build(at("python/e"), env).done).toMatch(/made\n$/)
    expect(imports(at("python/e"))).toBe("1.0.0")
    expect(builds()).not.toContain(half)
  })

  it("a cache that cannot be written is named", async () => {
    mkdirSync(at("closed"))
    writeFileSync(at("closed/python"), "a file stands where the directory should be")
    const said = await build(at("closed/python/e"), { PIP_NO_INDEX: "1" }).done
    expect(JSON.parse(said.trim().split("\n").at(-1)!)).toMatchObject({ reason: "Denied", message: expect.stringContaining(at("closed/python")), remedy: expect.stringContaining("HYPER_CACHE") })
  })
})

const withPython = async (python: string) => {
  const before = process.env["HYPER_PYTHON"]
  process.env["HYPER_PYTHON"] = python
  try {
    const progress = Progress.of({ log: () => Effect.void, report: () => Effect.void })
    return {
      failure: await Effect.runPromise(Effect.flip(Effect.provideService(pythonEnvironment(at("c")), Progress, progress))),
      plan: await Effect.runPromise(environmentPlan(at("c")))
    }
  } finally {
    if (before === undefined) delete process.env["HYPER_PYTHON"]
    else process.env["HYPER_PYTHON"] = before
  }
}

describe("what is wrong with a Python is said", () => {
  it("one that is not there, one that is no Python, one without the packages", async () => {
    const absent = await withPython(at("nowhere"))
    expect(absent.failure).toMatchObject({ reason: "Missing", message: expect.stringContaining("no such program") })
    expect(absent.plan.notes).toEqual([expect.objectContaining({ level: "refuse", message: absent.failure.message })])
    writeFileSync(at("fake"), "#!/bin/sh\necho hello\n")
    chmodSync(at("fake"), 0o755)
    expect((await withPython(at("fake"))).failure.message).toContain("does not answer like a Python")
    execFileSync("python3", ["-m", "venv", "--without-pip", at("bare")])
    const { failure } = await withPython(at("bare/bin/python"))
    expect(failure).toMatchObject({ reason: "Missing", message: expect.stringMatching(/torch is missing \(needs 2\.13\.0\)/), remedy: expect.stringContaining("HYPER_PYTHON") })
  })

  it("what was found out is kept until a package changes", async () => {
    execFileSync("python3", ["-m", "venv", "--without-pip", at("bare")])
    const python = at("bare/bin/python")
    const names = ["hyper_tiny"]
    const first = await inspectOnce(python, names, at("c"))
    expect(first.packages).toEqual({})
    // planted: an interpreter that would answer otherwise is not asked while nothing has changed
    writeFileSync(join(at("c/python"), readdirSync(at("c/python"))[0]!), JSON.stringify({ ...JSON.parse(readFileSync(join(at("c/python"), readdirSync(at("c/python"))[0]!), "utf8")), facts: { ...first, version: "remembered" } }))
    expect((await inspectOnce(python, names, at("c"))).version).toBe("remembered")
    execFileSync("python3", ["-m", "zipfile", "-e", at("wheels/hyper_tiny-1.0.0-py3-none-any.whl"), first.packagesDirectory])
    expect((await inspectOnce(python, names, at("c"))).packages).toEqual({ hyper_tiny: "1.0.0" })
  })

  it("none at all: what was tried and how to get one", async () => {
    await expect(systemPython(undefined, [at("no-python3"), at("fake3")])).rejects.toThrow(/needs Python 3\.10 or newer.*no-python3: no such program.*fake3: no such program/)
  })

  it("a loose pin is refused with its line", () => {
    expect(() => parsePins("# comment\ntorch>=2\n")).toThrow("line 2")
  })
})
