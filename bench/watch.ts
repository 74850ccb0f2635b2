/**
 * Commit-to-run latency of `hyper watch`: from the moment a push is through to the moment the run of its pipeline has started, over a real
 * git server on loopback, looking every second. Most of it is waiting for the next look, so the part after the look began is told apart.
 * Beside it, on the same machine in the same run: plain `git fetch` of the same commit from the same server.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { GitAuthor } from "@hypernode/engine/testing/GitAuthor"
import { GitHttpServer } from "@hypernode/engine/testing/GitHttpServer"

const commits = process.argv.includes("--quick") ? 5 : 20
const hyper = resolve(import.meta.dirname, "../packages/cli/bin/hyper.js")
const root = mkdtempSync(join(tmpdir(), "hyper-bench-watch-"))
const env = { ...process.env, HYPER_HOME: join(root, "h"), HYPER_CACHE: join(root, "c") }

const pipeline = (name: string): string => `import { pipeline } from "@hypernode/engine"
import { age } from "@hypernode/plugins/age"
import { local } from "@hypernode/plugins/local"
export default pipeline("${name}", (p) => {
  const { dataset } = p.select(local({ dataset: "../data/rows.jsonl" }))
  p.encrypt(age(), { dataset })
})
`
const rows = Array.from({ length: 100 }, (_, i) => `${JSON.stringify({ messages: [{ role: "user", content: `q${i}` }, { role: "assistant", content: `a${i}` }] })}\n`).join("")

interface Stored {
  readonly at: number
  readonly event: { readonly _tag: string }
}
const eventsOf = (runId: string): Promise<ReadonlyArray<Stored>> =>
  new Promise((done, reject) => {
    const { socket } = JSON.parse(readFileSync(join(env.HYPER_HOME, "daemon.json"), "utf8")) as { socket: string }
    request({ socketPath: socket, path: `/api/v1/runs/${runId}/events`, headers: { host: "localhost" } }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk: string) => { text += chunk }).on("end", () => done((JSON.parse(text) as { events: ReadonlyArray<Stored> }).events))
    }).on("error", reject).end()
  })

const median = (of: ReadonlyArray<number>): number => of.toSorted((a, b) => a - b)[of.length >> 1] as number
const shown = (of: ReadonlyArray<number>): string => `${median(of).toFixed(0)} ms (${Math.min(...of).toFixed(0)} to ${Math.max(...of).toFixed(0)})`

const server = await GitHttpServer.start({ root: join(root, "repos") })
const author = new GitAuthor(join(root, "repos"), "bench.git")
author.commit({ "data/rows.jsonl": rows, "pipelines/p.ts": pipeline("p") })
const policy = join(root, "policy.json")
writeFileSync(policy, `{"run": true}`)

const watch = spawn(process.execPath, [hyper, "watch", server.url("bench.git"), "--interval", "1", "--policy", policy, "--no-notes", "--json"], { env, stdio: ["ignore", "pipe", "inherit"] })
const events: Array<{ readonly type: string; readonly commit?: string; readonly runId?: string; readonly lookedAt?: number }> = []
let buffer = ""
watch.stdout.on("data", (chunk: Buffer) => {
  buffer += chunk.toString()
  const lines = buffer.split("\n")
  buffer = lines.pop() as string
  events.push(...lines.filter((line) => line !== "").map((line) => JSON.parse(line) as (typeof events)[number]))
})
const until = async (type: string, commit: string) => {
  for (let waited = 0; waited < 60_000; waited += 5) {
    const found = events.find((event) => event.type === type && event.commit === commit)
    if (found !== undefined) return found
    await sleep(5)
  }
  throw new Error(`no ${type} of ${commit} within a minute: ${JSON.stringify(events.slice(-5))}`)
}

const clone = join(root, "clone.git")
/** Asynchronous: the server is in this process. */
const git = (...args: ReadonlyArray<string>): Promise<void> =>
  new Promise((done, reject) => spawn("git", [...args], { env: { PATH: process.env["PATH"] ?? "", HOME: root, GIT_CONFIG_NOSYSTEM: "1" }, stdio: "ignore" }).on("error", reject).on("close", (code) => (code === 0 ? done() : reject(new Error(`git ${args[0]}: ${code}`)))))

try {
  await git("clone", "--bare", "-q", server.url("bench.git"), clone)
  await until("ended", author.git(author.work, "rev-parse", "HEAD"))
  const toRun: Array<number> = []
  const fromLook: Array<number> = []
  const fetched: Array<number> = []
  for (let n = 1; n <= commits; n++) {
    // pushes fall anywhere between two looks
    await sleep((n * 373) % 1000)
    const commit = author.commit({ "pipelines/p.ts": pipeline(`p-${n}`) })
    const pushed = Date.now()
    const { lookedAt } = await until("head", commit)
    const { runId } = await until("run", commit)
    await until("ended", commit)
    const started = (await eventsOf(runId as string)).find(({ event }) => event._tag === "RunStarted")?.at as number
    toRun.push(started - pushed)
    fromLook.push(started - (lookedAt as number))
    const before = performance.now()
    await git("--git-dir", clone, "fetch", "-q", "origin", "+refs/heads/main:refs/heads/main")
    fetched.push(performance.now() - before)
  }
  process.stdout.write(`${commits} commits, looking every second, medians (least to most):
  push to run        ${shown(toRun)}
  look to run        ${shown(fromLook)}   fetch, export, evaluation in the sandbox, plan, policy, durable start
  git fetch alone    ${shown(fetched)}   yardstick: the same commit, the same server
  look to run / git fetch   ${(median(fromLook) / median(fetched)).toFixed(1)}
`)
} finally {
  watch.kill("SIGINT")
  await new Promise((done) => (watch.exitCode === null ? watch.once("exit", done) : done(undefined)))
  spawnSync(process.execPath, [hyper, "stop"], { env, stdio: "ignore" })
  await server.close()
  rmSync(root, { recursive: true, force: true })
}
