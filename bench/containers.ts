/**
 * What containers cost, on a Docker engine of the bench's own: a confined command's start-up beside bubblewrap and a plain process, its
 * share of a training job, and building an image beside `docker build` of the very same Dockerfile and files.
 *
 *     HYPER_PYTHON=... node bench/containers.ts [--json] [--rounds 15] [--mib 256] [--steps 60]
 *
 * Start-up: from asking to the end of `true` inside. The share is the container's start-up, less a plain process's, of the whole wall
 * seconds of a training of the tiny model in it. Builds: a new file of weights each time, so that nothing comes from the engine's cache;
 * on `FROM scratch`, because instructions that run programs take as long for both.
 */
import { execFile } from "node:child_process"
import { randomFillSync } from "node:crypto"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { parseArgs, promisify } from "node:util"
import { Containers } from "@hypernode/engine/capability/Containers"
import { CurrentHome } from "@hypernode/engine/capability/CurrentHome"
import { Sandbox, type SandboxKind } from "@hypernode/engine/capability/Sandbox"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { homeAt } from "@hypernode/engine/Home"
import { layer as sandboxLayer } from "@hypernode/engine/sandbox/SystemSandbox"
import { startEngine } from "@hypernode/engine/testing/dockerEngine"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { missingPython, train, World } from "../packages/plugins/test/torchrun/world.ts"

const run = promisify(execFile)
const MIB = 1 << 20

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

/** Seconds, medians. */
const startUp = async (root: string, rounds: number): Promise<Readonly<Record<SandboxKind, number>>> => {
  const writable = join(root, "w")
  mkdirSync(writable)
  const layer = sandboxLayer.pipe(Layer.provide(Layer.succeed(CurrentHome, homeAt(join(root, "h"), join(root, "c")))))
  const times: Record<SandboxKind, Array<number>> = { container: [], bubblewrap: [], none: [] }
  for (let round = 0; round < rounds + 1; round++) {
    for (const kind of ["container", "bubblewrap", "none"] as const) {
      const seconds = await timed(async () => {
        const [program, ...args] = await Effect.runPromise(Effect.flatMap(Sandbox, (sandbox) => sandbox.wrap(kind, { command: ["/bin/true"], readOnly: [], writable: [writable], sockets: [], cwd: writable })).pipe(Effect.provide(layer)))
        const child = run(program, args, { env: { PATH: "/usr/bin:/bin" } })
        child.child.stdin?.end()
        await child
      })
      if (round > 0) times[kind].push(seconds) // the first one makes the image
    }
  }
  return { container: median(times.container), bubblewrap: median(times.bubblewrap), none: median(times.none) }
}

/** Whole wall seconds of a training in a container, the second of two: the first one brings the environment's files into memory. */
const training = async (steps: number): Promise<number | undefined> => {
  if (missingPython !== undefined) return undefined
  const world = await World.make()
  try {
    const input = await world.shards(1)
    const one = async (step: string): Promise<number> => {
      const context = await world.training({ maxSteps: steps, epochs: 10_000, batchSize: 8, sequenceLength: 128, checkpointEvery: 1_000_000, keepCheckpoints: 1, sandbox: "required" }, input, step)
      let confined = ""
      const seconds = await timed(async () => {
        confined = (await world.run(train.collect(context, await world.run(train.start(context))))).sandbox
      })
      if (confined !== "container") throw new Error(`the training ran in ${confined}, not in a container`)
      return seconds
    }
    await one("first")
    return await one("second")
  } finally {
    await world.dispose()
  }
}

const builds = async (root: string, url: string, mib: number, rounds: number): Promise<{ readonly ours: number; readonly docker: number }> => {
  const times: Record<"ours" | "docker", Array<number>> = { ours: [], docker: [] }
  const directory = join(root, "context")
  mkdirSync(join(directory, "model"), { recursive: true })
  const dockerfile = "FROM scratch\nCOPY server/ /opt/hyper/\nCOPY model/ /model/\nUSER 65534:65534\n"
  mkdirSync(join(directory, "server"))
  writeFileSync(join(directory, "Dockerfile"), dockerfile)
  writeFileSync(join(directory, "server/server.py"), "print('hello')\n")
  const weights = join(directory, "model/model.safetensors")
  const bytes = Buffer.alloc(mib * MIB)
  const make = {
    ours: (reference: string) =>
      Effect.runPromise(
        Effect.flatMap(Containers, (containers) => containers.build({ reference, dockerfile, context: [{ path: "server/server.py", content: "print('hello')\n" }, { path: "model/model.safetensors", file: weights, size: bytes.length }], labels: {} })).pipe(Effect.provide(containersLayer))
      ),
    docker: (reference: string) => run("docker", ["build", "-q", "-t", reference, directory], { env: { PATH: process.env["PATH"], DOCKER_HOST: url, DOCKER_BUILDKIT: "0", HOME: root }, maxBuffer: 16 * MIB })
  }
  for (let round = 0; round < rounds; round++) {
    for (const which of round % 2 === 0 ? (["ours", "docker"] as const) : (["docker", "ours"] as const)) {
      writeFileSync(weights, randomFillSync(bytes))
      const reference = `bench-${which}:${round}`
      times[which].push(await timed(() => make[which](reference)))
      await run("docker", ["-H", url, "rmi", "-f", reference])
    }
  }
  return { ours: median(times.ours), docker: median(times.docker) }
}

export interface ContainerFigures {
  /** seconds */
  readonly startUp: Readonly<Record<SandboxKind, number>>
  readonly training?: { readonly seconds: number; readonly share: number }
  readonly build: { readonly mib: number; readonly ours: number; readonly docker: number; readonly ratio: number }
  readonly load: number
}

export const containersBench = async (wanted: { readonly rounds: number; readonly mib: number; readonly steps: number }): Promise<ContainerFigures> => {
  const load = loadavg()[0] ?? Number.NaN
  const root = mkdtempSync("/tmp/hbc-")
  chmodSync(root, 0o755)
  const engine = await startEngine()
  process.env["DOCKER_HOST"] = engine.url
  try {
    const times = await startUp(root, wanted.rounds)
    const seconds = await training(wanted.steps)
    const built = await builds(root, engine.url, wanted.mib, 3)
    return {
      startUp: times,
      ...(seconds === undefined ? {} : { training: { seconds, share: (times.container - times.none) / seconds } }),
      build: { mib: wanted.mib, ...built, ratio: built.ours / built.docker },
      load
    }
  } finally {
    await engine.stop()
    rmSync(root, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false }, rounds: { type: "string", default: "15" }, mib: { type: "string", default: "256" }, steps: { type: "string", default: "60" } } })
  const figures = await containersBench(values.quick ? { rounds: 3, mib: 32, steps: 10 } : { rounds: Number(values.rounds), mib: Number(values.mib), steps: Number(values.steps) })
  if (values.json) console.log(JSON.stringify(figures))
  else {
    const ms = (seconds: number) => `${(seconds * 1000).toFixed(0)} ms`
    console.log(`containers, ${cpus().length} cores, load ${figures.load.toFixed(1)} at the start`)
    console.log(`  a confined command: container ${ms(figures.startUp.container)}, bubblewrap ${ms(figures.startUp.bubblewrap)}, plain process ${ms(figures.startUp.none)}`)
    if (figures.training === undefined) console.log(`  a training's share: not measured (${missingPython})`)
    else console.log(`  of a training of ${figures.training.seconds.toFixed(1)} s: ${(figures.training.share * 100).toFixed(1)} %`)
    console.log(`  an image with ${figures.build.mib} MiB of weights: ${figures.build.ours.toFixed(2)} s; docker build of the same: ${figures.build.docker.toFixed(2)} s (${figures.build.ratio.toFixed(2)} times that)`)
  }
}
