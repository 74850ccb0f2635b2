/**
 * What packaging costs: the `oci` plugin on a model of so many bytes, beside SHA-256 alone of the same bytes and `tar` without
 * compression, in turns, on one machine.
 *
 *     node bench/packaging.ts [--json] [--mib 1024] [--rounds 3]
 *
 * The bytes are random (weights do not compress) and in the artifact store before the clock starts, as after a checkpoint. "Anew" is a
 * process that has not read them yet, and hashes them all; "again" is the one that has: the store remembers what it checked. Aims:
 * near the hash's own speed, faster than tar; a second adapter moves only the adapter; flat memory.
 */
import { execFile } from "node:child_process"
import { createHash, randomFillSync } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, mkdtemp, open, readdir, rm, stat } from "node:fs/promises"
import { cpus, loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { ArtifactStore } from "@hypernode/engine/artifact/ArtifactStore"
import { make } from "@hypernode/engine/artifact/FileArtifactStore"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import type { OciOptions } from "../packages/plugins/src/oci/Options.ts"
import plugin from "../packages/plugins/src/oci/plugin.ts"

const MIB = 1 << 20
const ADAPTER_MIB = 8

export interface PackagingFigures {
  readonly mib: number
  /** seconds, medians over the rounds */
  readonly package: number
  readonly packageAgain: number
  readonly sha256: number
  readonly tar: number
  /** processor seconds (user and system), medians: what a busy machine does not blur */
  readonly packageCpu: number
  readonly sha256Cpu: number
  /** median over the rounds of package / sha256 of the same round */
  readonly overHash: number
  readonly overTar: number
  /** bytes in the layout that are not links into the store */
  readonly packageBytes: number
  /** a second adapter of the same base: seconds, and bytes of blobs that were not in the layout before */
  readonly adapterSeconds: number
  readonly adapterNewBytes: number
  readonly adapterBytes: number
  readonly peakRssMegabytes: number
  readonly load: number
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

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

const timed = async (work: () => Promise<unknown>): Promise<{ readonly wall: number; readonly cpu: number }> => {
  const [began, before] = [performance.now(), process.cpuUsage()]
  await work()
  const { system, user } = process.cpuUsage(before)
  return { wall: (performance.now() - began) / 1000, cpu: (system + user) / 1e6 }
}

const hashAlone = async (path: string): Promise<void> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk as Buffer)
  hash.digest()
}

/** Blobs of a layout: bytes by name, and whether the store has the same file. */
const blobsOf = async (layout: string): Promise<ReadonlyMap<string, { readonly bytes: number; readonly linked: boolean }>> => {
  const directory = join(layout, "blobs", "sha256")
  const names = await readdir(directory).catch(() => [])
  return new Map(await Promise.all(names.map(async (name) => {
    const { nlink, size } = await stat(join(directory, name))
    return [name, { bytes: size, linked: nlink > 1 }] as const
  })))
}

export const packagingBench = async (mib: number, rounds: number): Promise<PackagingFigures> => {
  const root = await mkdtemp(join(tmpdir(), "hyper-bench-packaging-"))
  const load = loadavg()[0] ?? Number.NaN
  try {
    const store = await Effect.runPromise(make(join(root, "artifacts")))
    const body = plugin.stages.package!.body as ShortStage<OciOptions, { readonly checkpoint: Exported }, Packaged>
    const silent = Progress.of({ log: () => Effect.void, report: () => Effect.void })
    const packaged = (name: string, tree: Exported["tree"], form: Exported["form"], at = store): Promise<Packaged> => {
      const base = { name: "bench", source: "file:bench", revision: "0", tree, architecture: "llama", parameters: 1 }
      const context = { tenant: "local", runId: "bench", stepId: "package", attempt: 1, jobKey: "k", effectKey: "k", pipeline: "bench", options: { name }, input: { checkpoint: { base, form, step: 1, loss: 1, tree } }, projectDirectory: root, scratch: root, home: root, cache: root }
      return Effect.runPromise(body.run(context).pipe(Effect.provideService(ArtifactStore, at), Effect.provideService(Progress, silent)) as Effect.Effect<Packaged>)
    }
    const treeOf = async (name: string, files: Readonly<Record<string, number>>): Promise<Exported["tree"]> => {
      const directory = join(root, name)
      await mkdir(directory)
      for (const [path, size] of Object.entries(files)) await randomFile(join(directory, path), size)
      return Effect.runPromise(store.putTree(directory))
    }
    const model = await treeOf("model", { "model.safetensors": mib })
    const weights = join(root, "model", "model.safetensors")
    await hashAlone(weights) // into the page cache, as far as it holds it
    const names = ["package", "sha256", "tar"] as const
    const times: Record<(typeof names)[number] | "again", Array<{ readonly wall: number; readonly cpu: number }>> = { package: [], again: [], sha256: [], tar: [] }
    let layoutBytes = 0
    for (let round = 0; round < rounds; round++) {
      const fresh = await Effect.runPromise(make(join(root, "artifacts")))
      const tarFile = join(root, "model.tar")
      const measures = {
        package: () => packaged(`round-${round}`, model, "full", fresh),
        sha256: () => hashAlone(weights),
        tar: () => promisify(execFile)("tar", ["-cf", tarFile, "-C", join(root, "model"), "."])
      }
      // the order turns, so that nobody always comes first
      for (let i = 0; i < 3; i++) {
        const which = names[(i + round) % 3]!
        times[which].push(await timed(measures[which]))
      }
      times.again.push(await timed(() => packaged(`again-${round}`, model, "full", fresh)))
      await rm(tarFile)
      const blobs = await blobsOf(join(root, "packages", `round-${round}`))
      layoutBytes = [...blobs.values()].reduce((sum, { bytes, linked }) => sum + (linked ? 0 : bytes), 0)
    }
    const of = (which: keyof typeof times, what: "wall" | "cpu"): number => median(times[which].map((time) => time[what]))
    await packaged("adapters", await treeOf("adapter-1", { "adapter_model.safetensors": ADAPTER_MIB }), "adapter")
    const second = await treeOf("adapter-2", { "adapter_model.safetensors": ADAPTER_MIB })
    const before = await blobsOf(join(root, "packages", "adapters"))
    const { wall: adapterSeconds } = await timed(() => packaged("adapters", second, "adapter"))
    const after = await blobsOf(join(root, "packages", "adapters"))
    return {
      mib,
      package: of("package", "wall"),
      packageAgain: of("again", "wall"),
      sha256: of("sha256", "wall"),
      tar: of("tar", "wall"),
      packageCpu: of("package", "cpu"),
      sha256Cpu: of("sha256", "cpu"),
      overHash: median(times.package.map(({ wall }, i) => wall / times.sha256[i]!.wall)),
      overTar: median(times.package.map(({ wall }, i) => wall / times.tar[i]!.wall)),
      packageBytes: layoutBytes,
      adapterSeconds,
      adapterNewBytes: [...after].reduce((sum, [name, { bytes }]) => sum + (before.has(name) ? 0 : bytes), 0),
      adapterBytes: ADAPTER_MIB * MIB,
      peakRssMegabytes: process.resourceUsage().maxRSS / 1024,
      load
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, mib: { type: "string", default: "1024" }, rounds: { type: "string", default: "3" } } })
  const figures = await packagingBench(Number(values.mib), Number(values.rounds))
  if (values.json) console.log(JSON.stringify(figures))
  else {
    console.log(`packaging ${figures.mib} MiB, ${cpus().length} cores, load ${figures.load.toFixed(1)} at the start`)
    console.log(`  package anew ${figures.package.toFixed(2)} s, again ${figures.packageAgain.toFixed(2)} s; sha-256 alone ${figures.sha256.toFixed(2)} s (anew takes ${figures.overHash.toFixed(2)} times that); tar without compression ${figures.tar.toFixed(2)} s (${figures.overTar.toFixed(2)} times that)`)
    console.log(`  processor time: package anew ${figures.packageCpu.toFixed(2)} s, sha-256 alone ${figures.sha256Cpu.toFixed(2)} s`)
    console.log(`  bytes written besides links into the store: ${figures.packageBytes.toLocaleString("en-US")}; peak memory ${figures.peakRssMegabytes.toFixed(0)} MB`)
    console.log(`  a second adapter of ${figures.adapterBytes.toLocaleString("en-US")} bytes: ${(figures.adapterSeconds * 1000).toFixed(0)} ms, ${figures.adapterNewBytes.toLocaleString("en-US")} new bytes in the layout`)
  }
}
