/** The contract on a real dockerd, and what only an engine of one's own can show: it dies half-way, it is full, it is not there. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type ContainerFailure, Containers } from "../../src/capability/Containers.ts"
import { layer } from "../../src/containers/DockerContainers.ts"
import { engineHere } from "../../src/containers/engineHere.ts"
import { containersSuite, MARK, shellImage, shellSpec } from "../../src/testing/containersSuite.ts"
import { noDockerd, startEngine, type TestEngine } from "../../src/testing/dockerEngine.ts"

const lacks = noDockerd()
if (lacks !== undefined) console.warn(`skipped: containers (${lacks})`)

const use = <A>(f: (containers: Containers["Service"]) => Effect.Effect<A, ContainerFailure>): Promise<A> => Effect.runPromise(Effect.provide(Effect.flatMap(Containers, f), layer))
const failing = <A>(f: (containers: Containers["Service"]) => Effect.Effect<A, ContainerFailure>): Promise<ContainerFailure> => use((containers) => Effect.flip(f(containers)) as Effect.Effect<any, never>)

describe.skipIf(lacks !== undefined)("on a real engine", () => {
  let engine: TestEngine
  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
    await Effect.runPromise(Effect.provide(shellImage, layer))
  })
  afterAll(() => engine?.stop())

  containersSuite("docker", layer)

  it("a container whose maker was killed is swept; one whose maker lives is not", async () => {
    const mine = await use((containers) => containers.start(shellSpec("exec sleep 600", { name: "suite-mine" })))
    await promisify(execFile)(process.execPath, [join(import.meta.dirname, "makeAndDie.ts"), "suite-orphan"], { env: process.env }).catch(() => {})
    expect((await use((containers) => containers.list(MARK))).map(({ name }) => name).toSorted()).toEqual(["suite-mine", "suite-orphan"])
    expect(await use((containers) => containers.sweep({ ...MARK, other: "home" }))).toEqual([])
    expect(await use((containers) => containers.sweep(MARK))).toEqual(["suite-orphan"])
    expect((await use((containers) => containers.list(MARK))).map(({ name }) => name)).toEqual(["suite-mine"])
    await use((containers) => containers.remove(mine))
  })

  it("says what it is, to the light look and to the SDK", async () => {
    expect(await engineHere(engine.address)).toMatchObject({ version: expect.stringMatching(/^\d+\.\d+/), gpus: false, remapped: false, local: true })
  })
})

describe.skipIf(lacks !== undefined)("an engine that dies", () => {
  it("in the middle of a build, and under a container that is waited for: an error that says so, no image", async () => {
    const engine = await startEngine()
    try {
      process.env["DOCKER_HOST"] = engine.url
      await Effect.runPromise(Effect.provide(shellImage, layer))
      const id = await use((containers) => containers.start(shellSpec("exec sleep 600")))
      const waiting = failing((containers) => containers.ended(id))
      let begun = () => {}
      const running = new Promise<void>((resolve) => (begun = resolve))
      const building = failing((containers) =>
        containers.build({ reference: "hyper-suite:cut", dockerfile: "FROM hyper-suite-shell:1\nRUN echo begun; sleep 600\n", context: [], labels: MARK, network: "none" }, (line) => {
          if (line === "begun") begun()
        }))
      await running
      await engine.kill()
      expect(await building).toMatchObject({ reason: "EngineGone", remedy: expect.stringContaining("start it again") })
      expect(await waiting).toMatchObject({ reason: "EngineGone" })
      expect(await failing((containers) => containers.image("hyper-suite:cut"))).toMatchObject({ reason: "NoEngine", remedy: expect.stringContaining("bubblewrap") })
    } finally {
      await engine.stop()
    }
  })
})

describe.skipIf(lacks !== undefined)("an engine whose disk is full", () => {
  it("a build, and a container that writes: out of space, not a failed instruction", async () => {
    const engine = await startEngine({ dataBytes: 24 << 20 })
    try {
      process.env["DOCKER_HOST"] = engine.url
      await Effect.runPromise(Effect.provide(shellImage, layer))
      const full = await failing((containers) => containers.build({ reference: "hyper-suite:full", dockerfile: "FROM hyper-suite-shell:1\nRUN head -c 100000000 /dev/zero > /big\n", context: [], labels: MARK, network: "none" }))
      expect(full).toMatchObject({ reason: "OutOfSpace", remedy: expect.stringContaining("prune") })
      const context = await failing((containers) => containers.build({ reference: "hyper-suite:full", dockerfile: "FROM scratch\nCOPY big /\n", context: [{ path: "big", content: Buffer.alloc(40 << 20, 1) }], labels: MARK }))
      expect(context).toMatchObject({ reason: "OutOfSpace" })
      expect(await use((containers) => containers.image("hyper-suite:full"))).toBeUndefined()
      const wrote = await use((containers) => containers.run(shellSpec("head -c 100000000 /dev/zero > /big", { readOnlyRoot: false, user: "0:0" })))
      expect(wrote).toMatchObject({ exitCode: 1, why: "disk", output: expect.stringContaining("No space left on device") })
    } finally {
      await engine.stop()
    }
  })
})
