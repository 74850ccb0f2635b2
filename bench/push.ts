/**
 * What a push to a registry costs: the `oci` plugin's push of a packaged model beside `skopeo copy` of the same layout, in turns, each into a
 * fresh docker-registry (Debian's) on loopback. Then once more each, with nothing to move.
 *
 *     node bench/push.ts [--json] [--mib 512] [--rounds 3] [--root DIRECTORY] [--quick]
 *
 * The bytes are random and new each round, so that neither side nor the registry has seen them. Ours runs in this process, as it does in the
 * daemon; skopeo's time holds its start, which is printed. `--root`: where the registries keep their data (default: the temporary
 * directory); one in memory takes the disk out of the comparison. "hash": SHA-256 of the same bytes on one core, which the registry must do.
 */
import { execFile, spawn } from "node:child_process"
import { createHash, randomFillSync } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { make } from "@hypernode/engine/artifact/FileArtifactStore"
import { Secrets } from "@hypernode/engine/capability/Secrets"
import { make as makeSecrets } from "@hypernode/engine/capability/Secrets.layer"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import type { OciOptions } from "../packages/plugins/src/oci/Options.ts"
import plugin from "../packages/plugins/src/oci/plugin.ts"
import { push } from "../packages/plugins/src/oci/push.ts"

const MIB = 1 << 20

export interface PushFigures {
  readonly mib: number
  /** seconds, medians over the rounds */
  readonly push: number
  readonly skopeo: number
  readonly hash: number
  /** median over the rounds of skopeo / push of the same round: above 1 ours is faster */
  readonly ratio: number
  /** the second time, nothing to move */
  readonly pushAgain: number
  readonly skopeoAgain: number
  /** `skopeo --version` */
  readonly skopeoStart: number
  /** user and system seconds of this process for one push */
  readonly pushCpu: number
  /** of this process, packaging included */
  readonly peakRssMegabytes: number
  readonly load: number
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
const run = promisify(execFile)

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

const randomFile = async (path: string, mib: number): Promise<void> => {
  const file = await open(path, "w")
  try {
    const chunk = Buffer.alloc(MIB)
    for (let i = 0; i < mib; i++) await file.write(randomFillSync(chunk))
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A registry of its own for `work`: nothing in it before, nothing of it left. */
const withRegistry = async <A>(parent: string, work: (host: string) => Promise<A>): Promise<A> => {
  const directory = await mkdtemp(join(parent, "hyper-bench-registry-"))
  const config = join(directory, "config.yml")
  await writeFile(config, `version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${directory}/data}}\nhttp: {addr: "127.0.0.1:0", secret: bench}\n`)
  const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "pipe", "pipe"] })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  try {
    const host = await new Promise<string>((resolve, reject) => {
      const look = (chunk: Buffer): void => {
        const port = /listening on 127\.0\.0\.1:(\d+)/.exec(chunk.toString("utf8"))?.[1]
        if (port !== undefined) resolve(`127.0.0.1:${port}`)
      }
      child.stdout.on("data", look)
      child.stderr.on("data", look)
      child.on("error", () => reject(new Error("docker-registry cannot be started: apt-get install docker-registry")))
      void ended.then(() => reject(new Error("docker-registry ended")))
    })
    await run("sync")
    return await work(host)
  } finally {
    child.kill("SIGKILL")
    await ended
    await rm(directory, { recursive: true, force: true })
  }
}

export const pushBench = async (mib: number, rounds: number, registries: string): Promise<PushFigures> => {
  const root = await mkdtemp(join(tmpdir(), "hyper-bench-push-"))
  const load = loadavg()[0] ?? Number.NaN
  try {
    const store = await Effect.runPromise(make(join(root, "artifacts")))
    const silent = Progress.of({ log: () => Effect.void, report: () => Effect.void })
    const secrets = makeSecrets(join(root, "keys"), {})
    const provided = <A>(effect: Effect.Effect<A, unknown, any>): Promise<A> =>
      Effect.runPromise(effect.pipe(Effect.provideService(ArtifactStore, store), Effect.provideService(Progress, silent), Effect.provideService(Secrets, secrets)) as Effect.Effect<A, unknown>)
    const body = plugin.stages.package!.body as ShortStage<OciOptions, { readonly checkpoint: Exported }, Packaged>
    const times: Record<"push" | "skopeo" | "hash" | "pushAgain" | "skopeoAgain" | "cpu", Array<number>> = { push: [], skopeo: [], hash: [], pushAgain: [], skopeoAgain: [], cpu: [] }
    for (let round = 0; round < rounds; round++) {
      const directory = join(root, `model-${round}`)
      await mkdir(directory)
      await writeFile(join(directory, "config.json"), JSON.stringify({ round, random: Math.random() }))
      await randomFile(join(directory, "model.safetensors"), mib)
      const tree = await Effect.runPromise(store.putTree(directory))
      const base = { name: "bench", source: "file:bench", revision: "0", tree, architecture: "llama", parameters: 1 }
      const context = { tenant: "default", runId: "bench", stepId: "package", attempt: 1, jobKey: "k", effectKey: `k${round}`, pipeline: "bench", options: { name: `round-${round}` }, input: { checkpoint: { base, form: "full" as const, step: 1, loss: 1, tree } }, projectDirectory: root, scratch: join(root, "scratch"), home: root, cache: root }
      const packaged = await provided(body.run(context))
      const layout = join(root, packaged.layout)
      times.hash.push(await seconds(async () => {
        const hash = createHash("sha256")
        for await (const chunk of createReadStream(join(directory, "model.safetensors"), { highWaterMark: MIB })) hash.update(chunk as Buffer)
        hash.digest()
      }))
      const ours = (host: string) => provided(push({ to: `${host}/bench/model:v1` }, { layout, digest: packaged.digest, base: base.source }, { tenant: "default", scratch: context.scratch, effectKey: context.effectKey, tag: "v1" }))
      const theirs = (host: string) => run("skopeo", ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", `oci:${layout}:latest`, `docker://${host}/bench/model:v1`])
      const measures = [
        () => withRegistry(registries, async (host) => {
          const before = process.cpuUsage()
          times.push.push(await seconds(() => ours(host)))
          const { system, user } = process.cpuUsage(before)
          times.cpu.push((system + user) / 1e6)
          times.pushAgain.push(await seconds(() => ours(host)))
        }),
        () => withRegistry(registries, async (host) => {
          times.skopeo.push(await seconds(() => theirs(host)))
          times.skopeoAgain.push(await seconds(() => theirs(host)))
        })
      ]
      // the order turns, so that nobody always comes first
      for (const measure of round % 2 === 0 ? measures : measures.toReversed()) await measure()
      await rm(directory, { recursive: true, force: true })
    }
    return {
      mib,
      push: median(times.push),
      skopeo: median(times.skopeo),
      hash: median(times.hash),
      ratio: median(times.push.map((time, i) => times.skopeo[i]! / time)),
      pushAgain: median(times.pushAgain),
      skopeoAgain: median(times.skopeoAgain),
      skopeoStart: await seconds(() => run("skopeo", ["--version"])),
      pushCpu: median(times.cpu),
      peakRssMegabytes: process.resourceUsage().maxRSS / 1024,
      load
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false }, mib: { type: "string", default: "512" }, rounds: { type: "string", default: "3" }, root: { type: "string", default: tmpdir() } } })
  const figures = await pushBench(values.quick ? 64 : Number(values.mib), Number(values.rounds), values.root)
  const rate = (time: number) => `${((figures.mib * MIB) / time / 1e6).toFixed(0)} MB/s (${time.toFixed(2)} s)`
  if (values.json) console.log(JSON.stringify(figures))
  else {
    console.log(`pushing ${figures.mib} MiB to docker-registry on loopback, ${cpus().length} cores, load ${figures.load.toFixed(1)} at the start`)
    console.log(`  push ${rate(figures.push)}; skopeo copy ${rate(figures.skopeo)}; skopeo / push ${figures.ratio.toFixed(2)} (median of the rounds); sha-256 alone ${rate(figures.hash)}`)
    console.log(`  again, nothing to move: push ${(figures.pushAgain * 1000).toFixed(0)} ms, skopeo ${(figures.skopeoAgain * 1000).toFixed(0)} ms, of which its start ${(figures.skopeoStart * 1000).toFixed(0)} ms`)
    console.log(`  processor time of one push on our side ${figures.pushCpu.toFixed(2)} s; peak memory ${figures.peakRssMegabytes.toFixed(0)} MB (packaging included)`)
  }
}
