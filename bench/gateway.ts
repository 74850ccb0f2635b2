/**
 * What the gateway costs: the same chat request to a trivial upstream, directly and through the gateway, in turns, on one machine.
 *
 *     node bench/gateway.ts [--json] [--seconds 10]
 *
 * Three processes (this client, the upstream, the gateway). Aim: at most 0.5 ms more at the median, at least 1,000 requests/s.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { generateKeyPairSync, sign } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { gatewayProgram } from "@hypernode/api/gateway/program"
import { keyHash, keyHint } from "@hypernode/engine/endpoints/GatewaySnapshot"
import { gatewayFiles, type GatewayState } from "@hypernode/engine/endpoints/GatewayState"

export interface GatewayFigures {
  readonly directMedianMillis: number
  readonly gatewayMedianMillis: number
  readonly addedMedianMillis: number
  readonly addedP99Millis: number
  readonly directPerSecond: number
  readonly gatewayPerSecond: number
  readonly streamFirstByteAddedMillis: number
  /** processor time of the gateway for one request: what a busy machine does not blur */
  readonly cpuMillisPerRequest: number
  readonly rssMegabytes: number
  /** growth of resident memory over the sustained run, after warm-up */
  readonly rssSlopeMegabytesPer100kRequests: number
  readonly readyMillis: number
  readonly requests: number
  readonly load: number
}

const UPSTREAM = `
const http = require("node:http")
const usage = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 }
const whole = JSON.stringify({ id: "x", object: "chat.completion", created: 1, model: "up", choices: [{ index: 0, message: { role: "assistant", content: "The shop is open." }, finish_reason: "stop" }], usage })
const event = "data: " + JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "up", choices: [{ index: 0, delta: { content: "The" }, finish_reason: null }] }) + "\\n\\n"
http.createServer((q, s) => {
  let text = ""
  q.on("data", (d) => (text += d)).on("end", () => {
    if (!JSON.parse(text).stream) return s.writeHead(200, { "content-type": "application/json", "content-length": whole.length }).end(whole)
    s.writeHead(200, { "content-type": "text/event-stream" })
    s.write(event)
    setTimeout(() => s.end(event + "data: [DONE]\\n\\n"), 2)
  })
}).listen(0, "127.0.0.1", function () { console.log(this.address().port) })`

const KEY = "hk-bench-000000000000000000000000000000000000"
const body = (stream: boolean): string => JSON.stringify({ model: "bench", stream, messages: [{ role: "user", content: "Are you open on Tuesday? ".repeat(8) }], max_tokens: 16 })
const BODY = body(false)
const STREAM = body(true)

const agents = [new Agent({ keepAlive: true, maxSockets: 64 }), new Agent({ keepAlive: true, maxSockets: 64 })] as const

/** Milliseconds to the first byte and to the last. */
const ask = (port: number, agent: Agent, payload: string): Promise<readonly [first: number, last: number]> =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const outgoing = request({ host: "127.0.0.1", port, agent, method: "POST", path: "/v1/chat/completions", headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", "content-length": payload.length } }, (response) => {
      let first = 0
      response.on("data", () => {
        if (first === 0) first = performance.now() - started
      })
      response.on("end", () => (response.statusCode === 200 ? resolve([first, performance.now() - started]) : reject(new Error(`HTTP ${response.statusCode}`))))
    })
    outgoing.on("error", reject)
    outgoing.end(payload)
  })

const quantile = (values: ReadonlyArray<number>, q: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN

const rssOf = (pid: number): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024

/** Seconds of processor time so far; ticks are 1/100 s on Linux. */
const cpuOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Requests a second with `concurrency` callers; calls `each` once a second. */
const sustain = async (port: number, agent: Agent, seconds: number, concurrency: number, each: (requests: number) => void = () => {}): Promise<{ readonly perSecond: number; readonly requests: number }> => {
  const started = performance.now()
  const end = started + seconds * 1000
  let requests = 0
  const timer = setInterval(() => each(requests), 1000)
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < end) {
        await ask(port, agent, BODY)
        requests += 1
      }
    })
  )
  clearInterval(timer)
  return { perSecond: requests / ((performance.now() - started) / 1000), requests }
}

/** Least squares over (requests, megabytes). */
const slope = (points: ReadonlyArray<readonly [number, number]>): number => {
  const n = points.length
  const mx = points.reduce((s, [x]) => s + x, 0) / n
  const my = points.reduce((s, [, y]) => s + y, 0) / n
  return points.reduce((s, [x, y]) => s + (x - mx) * (y - my), 0) / points.reduce((s, [x]) => s + (x - mx) ** 2, 0)
}

const n = (value: number, digits = 2): string => value.toFixed(digits)

const ended = (child: ChildProcess): Promise<void> => new Promise((resolve) => (child.exitCode !== null || child.signalCode !== null ? resolve() : child.once("exit", () => resolve())))

export const gatewayBench = async (seconds = 10): Promise<GatewayFigures> => {
  const root = mkdtempSync(join(tmpdir(), "hyper-bench-"))
  const directory = join(root, "gateway")
  const files = gatewayFiles(directory)
  mkdirSync(directory, { mode: 0o700 })
  const children: Array<ChildProcess> = []
  try {
    const upstream = spawn(process.execPath, ["-e", UPSTREAM], { stdio: ["ignore", "pipe", "inherit"] })
    children.push(upstream)
    const upstreamPort = Number(await new Promise<string>((resolve) => upstream.stdout?.once("data", (data) => resolve(String(data)))))
    const pair = generateKeyPairSync("ed25519")
    writeFileSync(files.publicKey, pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64"))
    const payload = JSON.stringify({
      format: 1,
      version: 1,
      issuedAt: Date.now(),
      routes: [{ id: "ep-bench", tenant: "default", model: "bench", upstream: `http://127.0.0.1:${upstreamPort}`, upstreamModel: "up", created: 1, concurrency: 64, queue: 64 }],
      keys: [{ hash: keyHash(KEY), hint: keyHint(KEY), tenant: "default", endpoints: ["ep-bench"], requestsPerMinute: 1_000_000_000, tokensPerDay: 1_000_000_000_000 }]
    })
    writeFileSync(files.snapshot, JSON.stringify({ payload, signature: sign(null, Buffer.from(payload), pair.privateKey).toString("base64") }))
    const launched = performance.now()
    const gateway = spawn(process.execPath, [gatewayProgram, directory], { stdio: "ignore", env: {} })
    children.push(gateway)
    let state: GatewayState | undefined
    while (state === undefined) {
      if (gateway.exitCode !== null) throw new Error(`the gateway ended with ${gateway.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
      if (statSync(files.state, { throwIfNoEntry: false }) !== undefined) state = JSON.parse(readFileSync(files.state, "utf8")) as GatewayState
    }
    const readyMillis = performance.now() - launched
    const { pid, port } = state
    const load = loadavg()[0] ?? 0

    for (let i = 0; i < 500; i++) {
      await ask(upstreamPort, agents[0], BODY)
      await ask(port, agents[1], BODY)
    }
    const direct: Array<number> = []
    const through: Array<number> = []
    const added: Array<number> = []
    for (let i = 0; i < 3000; i++) {
      // the order changes, so that neither always finds the caches warm
      const one = i % 2 === 0 ? (await ask(upstreamPort, agents[0], BODY))[1] : undefined
      const two = (await ask(port, agents[1], BODY))[1]
      const base = one ?? (await ask(upstreamPort, agents[0], BODY))[1]
      direct.push(base)
      through.push(two)
      added.push(two - base)
    }
    const firstByte: Array<number> = []
    for (let i = 0; i < 300; i++) {
      const [base] = await ask(upstreamPort, agents[0], STREAM)
      const [two] = await ask(port, agents[1], STREAM)
      firstByte.push(two - base)
    }
    const alone = await sustain(upstreamPort, agents[0], Math.min(3, seconds), 32)
    await sustain(port, agents[1], Math.min(5, seconds), 32) // until the heap has found its size
    const cpuBefore = cpuOf(pid)
    const points: Array<readonly [number, number]> = []
    const sustained = await sustain(port, agents[1], seconds, 32, (requests) => points.push([requests, rssOf(pid)]))
    return {
      directMedianMillis: quantile(direct, 0.5),
      gatewayMedianMillis: quantile(through, 0.5),
      addedMedianMillis: quantile(added, 0.5),
      addedP99Millis: quantile(through, 0.99) - quantile(direct, 0.99),
      directPerSecond: alone.perSecond,
      gatewayPerSecond: sustained.perSecond,
      streamFirstByteAddedMillis: quantile(firstByte, 0.5),
      cpuMillisPerRequest: ((cpuOf(pid) - cpuBefore) * 1000) / sustained.requests,
      rssMegabytes: rssOf(pid),
      rssSlopeMegabytesPer100kRequests: slope(points) * 100_000,
      readyMillis,
      requests: sustained.requests,
      load
    }
  } finally {
    for (const agent of agents) agent.destroy()
    for (const child of children) child.kill("SIGKILL")
    await Promise.all(children.map(ended))
    rmSync(root, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, seconds: { type: "string", default: "10" } } })
  const figures = await gatewayBench(Number(values.seconds))
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`)
  else {
    process.stdout.write(
      [
        `gateway, ${cpus().length} cores, load ${n(figures.load, 1)} at the start`,
        `  ready                    ${n(figures.readyMillis, 0)} ms, ${n(figures.rssMegabytes, 0)} MB resident after ${figures.requests} requests`,
        `  one after another        ${n(figures.gatewayMedianMillis)} ms against ${n(figures.directMedianMillis)} direct: ${n(figures.addedMedianMillis)} ms more at the median (aim 0.5), ${n(figures.addedP99Millis)} at p99`,
        `  first byte of a stream   ${n(figures.streamFirstByteAddedMillis)} ms more`,
        `  32 callers               ${n(figures.gatewayPerSecond, 0)} requests/s (aim 1000) against ${n(figures.directPerSecond, 0)} direct; ${n(figures.cpuMillisPerRequest)} ms of processor time each`,
        `  resident memory          ${n(figures.rssSlopeMegabytesPer100kRequests)} MB per 100,000 requests`,
        ""
      ].join("\n")
    )
  }
}
