/** From a checkpoint through an image to a chat answer, on a real Docker engine; and what happens where it does not get that far. */
import { execFile } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { Containers } from "@hypernode/engine/capability/Containers"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { Jobs } from "@hypernode/engine/capability/Jobs"
import { LABEL } from "@hypernode/engine/containers/labels"
import type { StageContext } from "@hypernode/engine/plugin/Plugin"
import type { Exported, Packaged } from "@hypernode/engine/stage/values"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import OpenAI from "openai"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { Options as ServeOptions } from "../../src/container/Options.ts"
import container from "../../src/container/plugin.ts"
import { serve } from "../../src/container/serve.ts"
import { build, stands } from "../../src/oci-image/build.ts"
import { Options as ImageOptions } from "../../src/oci-image/Options.ts"
import ociImage from "../../src/oci-image/plugin.ts"
import type { ContainerOptions } from "../../src/container/index.ts"
import type { OciImageOptions } from "../../src/oci-image/index.ts"
import { contextOf, FIXTURE, noPython, openWorld, packagedOf, type World } from "../serving/world.ts"
import { BASE, hostBase } from "./hostBase.ts"

const lacks = noDockerd() ?? noPython()
if (lacks !== undefined) console.warn(`skipped: images and containers (${lacks})`)

const SERVER = join(import.meta.dirname, "../../src/transformers/python")
const PLAN = `sha256:${"7".repeat(64)}`
const imageContext = (world: World, checkpoint: Exported, options: OciImageOptions): StageContext<ImageOptions, { readonly checkpoint: Exported }> => ({
  ...contextOf(world.home, {} as Packaged, {}),
  stepId: "package",
  plan: PLAN,
  options: Schema.decodeUnknownSync(ImageOptions)({ base: BASE, install: false, ...options }),
  input: { checkpoint }
})
const serveContext = (world: World, packaged: Packaged, options: ContainerOptions, run = 1): StageContext<ServeOptions, { readonly packaged: Packaged }> => ({
  ...contextOf(world.home, packaged, {}, run),
  plan: PLAN,
  options: Schema.decodeUnknownSync(ServeOptions)(options)
})

describe.skipIf(lacks !== undefined)("oci-image and container", () => {
  const nowhere = process.env["DOCKER_HOST"]
  let engine: TestEngine
  let world: World
  let mounts: ReadonlyArray<string> | undefined
  const given = () => ({ mounts: mounts ?? [] })
  const docker = async (...args: ReadonlyArray<string>) => (await promisify(execFile)("docker", ["-H", engine.url, ...args])).stdout.trim()
  const listed = Effect.flatMap(Containers, (containers) => containers.list({ [LABEL.purpose]: "serve" }))
  const exportedFrom = (directory: string) => Effect.map(packagedOf(directory, "tiny"), ({ exported }) => exported)

  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
  })
  afterAll(async () => {
    if (nowhere !== undefined) process.env["DOCKER_HOST"] = nowhere
    await engine?.stop()
  })
  beforeEach(async () => {
    world = openWorld()
    mkdirSync(world.home.scratch, { recursive: true })
    mounts ??= await world.run(hostBase(world.home.cache))
  })
  afterEach(() => world?.close())

  it("a chat answer out of an image: labelled, not root, read-only, without a network; stopped, and gone", async () => {
    await world.run(Effect.gen(function*() {
      const containers = yield* Containers
      const endpoints = yield* Endpoints
      const exported = yield* exportedFrom(FIXTURE)
      const context = imageContext(world, exported, { name: "support-bot" })
      const packaged = yield* build(context)
      expect(packaged).toMatchObject({ name: "support-bot", layout: "packages/support-bot", image: { reference: `hyper/support-bot:${packaged.digest.slice(7, 19)}` } })
      const image = (yield* containers.image(packaged.image!.reference))!
      expect(image).toMatchObject({ id: packaged.image!.id, user: "65534:65534", healthCheck: true, labels: { [LABEL.plan]: PLAN, [LABEL.package]: packaged.digest, [LABEL.run]: context.runId, [LABEL.server]: expect.stringMatching(/^[0-9a-f]{16}$/) } })
      // the same again is the same image; and a cached result stands as long as the engine has it
      expect((yield* build(context)).image).toEqual(packaged.image)
      expect(yield* stands(packaged, context)).toBe(true)

      const endpoint = yield* serve(serveContext(world, packaged, given()))
      const client = new OpenAI({ baseURL: endpoint.url, apiKey: yield* endpoints.apiKey(endpoint.id), maxRetries: 0 })
      const answer = yield* Effect.promise(() => client.chat.completions.create({ model: "support-bot", messages: [{ role: "user", content: "Are you open on Tuesday?" }], max_completion_tokens: 12, temperature: 0 }))
      expect(answer.choices[0]?.message.content?.length).toBeGreaterThan(3)
      const [running] = yield* listed
      expect(running).toMatchObject({ state: "running", labels: { [LABEL.run]: context.runId, [LABEL.step]: "serve", [LABEL.plan]: PLAN, [LABEL.package]: packaged.digest } })
      const facts = JSON.parse(yield* Effect.promise(() => docker("inspect", running!.id)))[0]
      expect(facts.HostConfig).toMatchObject({ ReadonlyRootfs: true, CapDrop: ["ALL"], NetworkMode: "none", SecurityOpt: ["no-new-privileges"], Privileged: false })
      expect(facts.Config.User).toBe("65534:65534")
      // its own health check, run by the engine's side door
      expect(yield* Effect.promise(() => docker("exec", running!.id, "python", "-m", "hyper_serve.health").then(() => "healthy"))).toBe("healthy")

      expect(yield* container.stages.serve!.alive!(endpoint, serveContext(world, packaged, given(), 2))).toBe(true)

      yield* endpoints.stop(endpoint.id)
      expect(yield* listed).toEqual([])
      yield* containers.removeImage(packaged.image!.reference)
      expect(yield* stands(packaged, context)).toBe(false)
      expect(yield* Effect.flip(serve(serveContext(world, packaged, given(), 3)))).toMatchObject({ reason: "Missing", remedy: expect.stringContaining("package step") })
    }))
  })

  it("an image of one's own answers on its port, with the package's model mounted", async () => {
    // a network in the engine, as a user's bridge: this engine was started without one
    await docker("network", "create", "--subnet", `10.231.${process.pid % 256}.0/28`, "--opt", `com.docker.network.bridge.name=hy-${process.pid}`, "hyper-test")
    try {
      await world.run(Effect.gen(function*() {
        const endpoints = yield* Endpoints
        const packaged = yield* packagedOf(FIXTURE, "tiny")
        const command = ["python", "-m", "hyper_serve", "--model", "/model", "--name", "inside", "--host", "0.0.0.0", "--port", "8000"]
        const endpoint = yield* serve(serveContext(world, packaged, { image: BASE, port: 8000, network: "hyper-test", command, model: "inside", name: "outside", env: { PYTHONPATH: SERVER }, mounts: [...given().mounts, SERVER] }))
        const client = new OpenAI({ baseURL: endpoint.url, apiKey: yield* endpoints.apiKey(endpoint.id), maxRetries: 0 })
        const answer = yield* Effect.promise(() => client.chat.completions.create({ model: "outside", messages: [{ role: "user", content: "Are you open on Tuesday?" }], max_completion_tokens: 8, temperature: 0 }))
        expect(answer.model).toBe("outside")
        expect(answer.choices[0]?.message.content?.length).toBeGreaterThan(3)
        const { upstream } = (yield* endpoints.get(endpoint.id))!
        expect(upstream).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
        yield* endpoints.stop(endpoint.id)
        expect(yield* listed).toEqual([])
      }))
    } finally {
      await docker("network", "rm", "hyper-test")
    }
  })

  it("an image of one's own that never gets ready, ends at once, runs out of memory, is not there: told apart, and nothing is left", async () => {
    await world.run(Effect.gen(function*() {
      const jobs = yield* Jobs
      const packaged = yield* packagedOf(FIXTURE, "tiny")
      let run = 10
      const failure = (options: ContainerOptions) => Effect.flip(serve(serveContext(world, packaged, { image: BASE, port: 8000, network: "none", ...given(), ...options }, run++)))
      expect(yield* failure({ command: ["/bin/sh", "-c", "trap 'exit 0' TERM; echo listening nowhere; sleep 600 & wait"], readySeconds: 2 })).toMatchObject({ reason: "InvalidInput", message: expect.stringMatching(/not ready after 2 s[^]*listening nowhere/), remedy: expect.stringContaining("readySeconds") })
      expect(yield* failure({ command: ["/bin/sh", "-c", "echo no such option >&2; exit 3"] })).toMatchObject({ reason: "JobFailed", message: expect.stringContaining("no such option") })
      expect(yield* failure({ command: ["/bin/sh", "-c", "exec tail /dev/zero"], memory: 24 })).toMatchObject({ reason: "OutOfSpace", message: expect.stringContaining("24 MiB"), remedy: expect.stringContaining("memory") })
      expect(yield* failure({ command: ["/bin/sh", "-c", "head -c 40000000 /dev/zero > /tmp/x; exit 1"], memory: 48 })).toMatchObject({ reason: "OutOfSpace", message: expect.stringContaining("disk") })
      expect(yield* failure({ image: "hyper-test-never:1" })).toMatchObject({ reason: "Missing", remedy: expect.stringContaining("docker pull hyper-test-never:1") })
      expect(yield* Effect.flip(serve(serveContext(world, packaged, {}, run++)))).toMatchObject({ reason: "InvalidInput", remedy: expect.stringContaining("ociImage()") })
      expect(yield* listed).toEqual([])
      for (const { handle } of yield* jobs.list) expect((yield* jobs.state(handle))._tag).toBe("Ended")
      expect(yield* Effect.flatMap(Endpoints, (endpoints) => endpoints.list("default"))).toEqual([])
    }))
  })

  it("a plan where there is no engine is refused, with what to do instead; where there is one, it says which", async () => {
    const planned = async () =>
      Promise.all([
        Effect.runPromise(ociImage.stages.package!.estimate!(Schema.decodeUnknownSync(ImageOptions)({ base: "python:3" }), { projectDirectory: "/" })),
        Effect.runPromise(container.stages.serve!.estimate!(Schema.decodeUnknownSync(ServeOptions)({}), { projectDirectory: "/" }))
      ])
    const there = await planned()
    for (const { notes } of there) expect(notes[0]).toMatchObject({ level: "info", message: expect.stringContaining("Docker engine 2") })
    expect(there[0].notes.slice(1)).toMatchObject([{ level: "warn", message: expect.stringContaining("python:3 is not on this engine"), remedy: expect.stringContaining("docker pull python:3") }, { level: "warn", message: expect.stringContaining("by tag") }])
    const here = await Effect.runPromise(ociImage.stages.package!.estimate!(Schema.decodeUnknownSync(ImageOptions)({ base: BASE }), { projectDirectory: "/" }))
    expect(here.notes.map(({ message }) => message)).not.toContainEqual(expect.stringContaining("not on this engine"))
    process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock"
    try {
      const [image, served] = await planned()
      expect(image.notes[0]).toMatchObject({ level: "refuse", message: expect.stringContaining("no Docker engine answers"), remedy: expect.stringContaining("oci()") })
      expect(served.notes[0]).toMatchObject({ level: "refuse", remedy: expect.stringContaining("transformers()") })
    } finally {
      process.env["DOCKER_HOST"] = engine.url
    }
  })
})
