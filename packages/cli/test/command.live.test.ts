/** The command line as a user meets it: help, exit codes, JSON, cache, and what it says of bad input and of a machine that lacks something. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Hyper, repository, runTwice } from "./Hyper.ts"

const sealed = join(repository, "packages/cli/test/pipelines/sealed.ts")
const bad = (name: string) => join(repository, "fixtures/data/bad", name)
let hyper: Hyper

beforeEach(() => { hyper = new Hyper() })
afterEach(async () => { expect(await hyper.close()).toEqual([]) })

describe("hyper", () => {
  it("helps: every command has a description, wrong usage exits 2", async () => {
    const { code, stdout } = await hyper.run("--help")
    expect(code).toBe(0)
    for (const name of ["init", "plan", "run", "resume", "runs", "status", "logs", "cancel", "endpoints", "rewards", "serve", "watch", "stop", "doctor"]) expect(stdout).toContain(`  ${name} `)
    expect(stdout).toContain("Examples:")
    expect((await hyper.run("run")).code).toBe(2)
    expect((await hyper.run("rum")).code).toBe(2)
    expect((await hyper.run("plan", "nowhere.ts")).code).toBe(5)
    expect((await hyper.run("completion", "bash")).stdout).toContain("complete -F _hyper hyper")
  })

  it("plans without starting anything", async () => {
    const result = await hyper.run("plan", sealed, "--json")
    expect(result.code).toBe(0)
    expect(JSON.parse(result.stdout)).toMatchObject({ plan: { pipeline: "sealed" }, steps: [{ id: "select", cached: false }, { id: "encrypt" }, { id: "shard" }] })
    expect(existsSync(hyper.root)).toBe(false)
    expect(hyper.processes()).toEqual([])
  })

  it("runs, then serves the second run from the cache; status, logs, runs, plan say so", async () => {
    const first = await hyper.run("run", sealed, "--json")
    expect(first.code, first.stderr).toBe(0)
    const summary = Hyper.lines(first).find((l) => l["type"] === "summary")
    expect(summary).toMatchObject({ state: "succeeded", cached: [] })
    const second = await hyper.run("run", sealed)
    expect(second.code).toBe(0)
    expect(second.stdout).toMatch(/cache +select, encrypt, shard/)
    const runs = JSON.parse((await hyper.run("runs", "--json")).stdout) as Array<{ id: string; state: string }>
    expect(runs.map((r) => r.state)).toEqual(["succeeded", "succeeded"])
    expect((await hyper.run("status", (runs[0] as { id: string }).id.slice(0, 6))).stdout).toContain("from cache")
    expect((await hyper.run("logs", (runs[1] as { id: string }).id)).stdout).toContain("sealed in")
    expect((await hyper.run("status", "ffffffff")).code).toBe(5)
    const planned = JSON.parse((await hyper.run("plan", sealed, "--json")).stdout) as { steps: Array<{ cached: boolean }> }
    expect(planned.steps.map((s) => s.cached)).toEqual([true, true, true])
    expect((await hyper.run("resume", "latest")).code).toBe(4)
    // the same without a daemon
    expect((await hyper.run("stop")).stdout).toContain("daemon")
    const cold = JSON.parse((await hyper.run("plan", sealed, "--json")).stdout) as { steps: Array<{ cached: boolean }> }
    expect(cold.steps.map((s) => s.cached)).toEqual([true, true, true])
  })

  it.each([
    ["row-3-not-json.jsonl", /row-3-not-json\.jsonl.*(line|row) 3/s],
    ["row-3-no-assistant.jsonl", /row-3-no-assistant\.jsonl.*(line|row) 3/s],
    ["wrong-keys.jsonl", /wrong-keys\.jsonl.*(line|row) 1/s],
    ["empty.jsonl", /empty\.jsonl.*(empty|no rows)/s]
  ])("refuses %s by file and line, with exit code and nothing cached", async (name, message) => {
    const { code, stderr, stdout } = await hyper.run("run", sealed, "--param", `dataset=${bad(name)}`)
    expect(code).not.toBe(0)
    expect(stdout + stderr).toMatch(message)
    expect(existsSync(join(hyper.root, "steps"))).toBe(false)
  })

  it("says which parameter was meant", async () => {
    const { code, stderr } = await hyper.run("plan", sealed, "--param", "datset=x")
    expect(code).toBe(3)
    expect(stderr).toMatch(/dataset/)
  })

  it("survives kill -9 of the command and of the daemon, at every stage", async () => {
    const { child, done } = hyper.start("run", sealed, "--json")
    const runId = await Hyper.until(async () => (await hyper.get<{ runs: Array<{ id: string }> }>("/api/v1/runs"))?.runs[0]?.id)
    expect(runId).toBeDefined()
    child.kill("SIGKILL")
    await done
    for (const step of ["select", "encrypt", "shard"]) {
      const pid = hyper.daemonPid()
      if (pid !== undefined) {
        try {
          process.kill(pid, "SIGKILL")
        } catch {
          // a kill that found nobody
        }
      }
      const status = await hyper.run("status", runId as string, "--json")
      expect(status.code, status.stderr).toBe(0)
      await Hyper.until(async () => ((await hyper.events(runId as string)).some(({ event }) => event._tag === "StepEnded" && event.step === step) ? true : undefined), 20_000)
    }
    const ended = await hyper.run("status", runId as string, "--watch", "--json")
    expect(ended.code, ended.stderr).toBe(0)
    expect(runTwice(await hyper.events(runId as string))).toEqual([])
  })

  it("resumes a failed run, and not with a plugin that changed since the plan was made", async () => {
    const directory = join(hyper.home, "project")
    mkdirSync(directory)
    symlinkSync(join(repository, "node_modules"), join(directory, "node_modules"))
    const custom = join(repository, "pipelines/custom-plugin")
    const plugin = readFileSync(join(custom, "roundRobin.ts"), "utf8")
    const file = join(directory, "roundRobin.ts")
    writeFileSync(file, plugin)
    writeFileSync(join(directory, "pipeline.ts"), readFileSync(join(custom, "pipeline.ts"), "utf8").replaceAll("../../fixtures", join(repository, "fixtures")))
    const failed = await hyper.run("run", join(directory, "pipeline.ts"), "--param", "parts=1000")
    expect(failed.code).toBe(1)
    expect(failed.stdout).toContain("cannot be dealt to 1000 workers")
    writeFileSync(file, `${plugin}\n// harmless, but nobody can know\n`)
    const changed = await hyper.run("resume", "latest")
    expect(changed.code).toBe(1)
    expect(changed.stdout).toMatch(/roundRobin\.ts.*changed since this plan was made/)
    writeFileSync(file, plugin)
    const again = await hyper.run("resume", "latest")
    expect(again.code).toBe(1)
    expect(again.stdout.match(/shard: failed: .*cannot be dealt/g)).toHaveLength(2)
    const run = JSON.parse((await hyper.run("status", "latest", "--json")).stdout) as { id: string; generation: number }
    expect(run.generation).toBe(3)
    expect(runTwice(await hyper.events(run.id))).toEqual([])
  })

  it("replaces a stale socket, and shares one daemon among commands that start at once", async () => {
    const results = await Promise.all([1, 2, 3].map(() => hyper.run("runs", "--json")))
    expect(results.map((r) => [r.code, r.stdout.trim()])).toEqual([[0, "[]"], [0, "[]"], [0, "[]"]])
    expect(hyper.processes().filter(({ command }) => /daemon\/main\.[tj]s/.test(command))).toHaveLength(1)

    // locks that killed commands left: of a pid that is gone, and of one that somebody else has by now
    for (const [owner, age] of [["999999999", 0], [String(process.pid), 600]] as const) {
      await hyper.run("stop")
      const lock = join(hyper.root, "daemon.starting")
      writeFileSync(lock, owner)
      utimesSync(lock, Date.now() / 1000 - age, Date.now() / 1000 - age)
      expect((await hyper.run("runs")).code).toBe(0)
      expect(existsSync(lock)).toBe(false)
    }
  })

  it("leaves when nothing is left to do", async () => {
    const brief = new Hyper({ HYPER_DAEMON_IDLE_SECONDS: "1" })
    expect((await brief.run("run", sealed)).code).toBe(0)
    expect(await Hyper.until(() => (brief.processes().length === 0 ? true : undefined), 30_000)).toBe(true)
    expect(await brief.close()).toEqual([])
  })

  it("names a port in use, a home that cannot be written, and a database that is newer", async () => {
    const blocker = createServer().listen(0, "127.0.0.1")
    const port = await new Promise<number>((found) => blocker.once("listening", () => found((blocker.address() as { port: number }).port)))
    const serve = await hyper.run("serve", "--port", String(port))
    blocker.close()
    expect(serve.code).toBe(4)
    expect(serve.stderr).toMatch(new RegExp(`port ${port}.*in use`))

    writeFileSync(join(hyper.home, "file"), "")
    const unwritable = await new Hyper({ HYPER_HOME: join(hyper.home, "file/home") }).run("runs")
    expect(unwritable.code).toBe(4)
    expect(unwritable.stderr).toMatch(/cannot be written[^]*HYPER_HOME/)
  })

  it.skipIf(process.getuid?.() !== 0)("reports a full disk, keeps what it has, and goes on when there is room", async () => {
    const mount = join(hyper.home, "small")
    mkdirSync(mount)
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=130m", "tmpfs", mount]).status).toBe(0)
    const small = new Hyper({ HYPER_HOME: join(mount, "h") })
    try {
      expect((await small.run("runs")).code).toBe(0)
      spawnSync("sh", ["-c", `head -c 1G /dev/zero > ${mount}/filler`])
      const full = await small.run("run", sealed)
      expect(full.code).not.toBe(0)
      expect(full.stdout + full.stderr).toMatch(/space|full/i)
      spawnSync("rm", [join(mount, "filler")])
      const again = await small.run("run", sealed)
      expect(again.code, again.stdout + again.stderr).toBe(0)
    } finally {
      await small.close()
      spawnSync("umount", [mount])
    }
  })

  it("forgives an environment without Python until something trains", async () => {
    const bare = new Hyper({ HYPER_PYTHON: "/nonexistent/python" })
    const doctor = await bare.run("doctor", "--json")
    expect(doctor.code).toBe(4)
    expect(JSON.parse(doctor.stdout)).toContainEqual(expect.objectContaining({ name: "python", state: "missing" }))
    expect((await bare.run("run", sealed)).code).toBe(0)
    expect(await bare.close()).toEqual([])
  })

  it("writes a pipeline to start from, and does not overwrite one", async () => {
    const target = join(hyper.home, "mine")
    expect((await hyper.run("init", target)).code).toBe(0)
    expect((await hyper.run("init", target)).code).toBe(4)
  })
})
