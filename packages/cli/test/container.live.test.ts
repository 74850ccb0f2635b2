/**
 * The golden run on a real Docker engine: trained in a container, packaged as an image, served in a container, answered through the gateway.
 * And what a user who has no engine is told, before anything is spent.
 */
import { execFile } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { Containers } from "@hypernode/engine/capability/Containers"
import { layer as containersLayer } from "@hypernode/engine/containers/DockerContainers"
import { homeLabel, LABEL } from "@hypernode/engine/containers/labels"
import type { Run } from "@hypernode/engine/run/Run"
import { sandboxImage } from "@hypernode/engine/sandbox/containerSpec"
import type { Endpoint, Packaged, Trained } from "@hypernode/engine/stage/values"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import { Effect } from "effect"
import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Hyper, repository } from "./Hyper.ts"

const boxed = join(repository, "packages/cli/test/pipelines/boxed.ts")
const python = process.env["HYPER_PYTHON"]
const lacks = noDockerd() ?? (python === undefined ? "HYPER_PYTHON is not set" : undefined)
if (lacks !== undefined) console.warn(`skipped: a whole deployment in containers (${lacks})`)

const outputOf = <A>(run: Run, kind: string): A => run.steps.find((s) => s.kind === kind)?.output as A

/** Where the interpreter and its packages lie, to be mounted over an image with nothing in it. */
const pythonPaths = async (): Promise<ReadonlyArray<string>> => {
  const { stdout } = await promisify(execFile)(python!, ["-c", "import os, sys; print(sys.prefix); print(os.path.realpath(sys.prefix)); print(sys.base_prefix)"])
  return [...new Set(["/usr", ...stdout.trim().split("\n")])].filter((path, _, all) => !all.some((other) => other !== path && path.startsWith(`${other}/`)))
}

describe.skipIf(lacks !== undefined)("a whole deployment in containers", () => {
  let engine: TestEngine
  let hyper: Hyper
  const use = <A>(f: (containers: Containers["Service"]) => Effect.Effect<A, unknown>) => Effect.runPromise(Effect.provide(Effect.flatMap(Containers, f), containersLayer))

  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
    hyper = new Hyper({ DOCKER_HOST: engine.url })
    const { context, dockerfile } = sandboxImage()
    await use((containers) => containers.build({ reference: "hyper-test-base:1", dockerfile: `${dockerfile}ENV PATH=${join(python!, "..")}:/usr/bin:/bin\n`, context, labels: {} }))
  })
  afterAll(async () => {
    expect(await hyper?.close()).toEqual([])
    await engine?.stop()
  })

  it("trains, builds, serves and answers; says so; and leaves no container when it is stopped", async () => {
    const result = await hyper.run("run", boxed, "--json", "--param", "base=hyper-test-base:1", "--param", `mounts=${(await pythonPaths()).join(":")}`)
    expect(result.code, `${result.stderr}\n${result.stdout.slice(-3000)}`).toBe(0)
    const run = JSON.parse((await hyper.run("status", "latest", "--json")).stdout) as Run
    expect(outputOf<Trained>(run, "train")).toMatchObject({ sandbox: "container", trustTier: "sandboxed-container" })
    const packaged = outputOf<Packaged>(run, "package")
    const endpoint = outputOf<Endpoint>(run, "serve")
    expect(Hyper.lines(result).at(-1)).toMatchObject({ type: "summary", package: { digest: packaged.digest, image: packaged.image }, training: { sandbox: "container" } })
    const image = await use((containers) => containers.image(packaged.image!.reference))
    // the plan that it was made by, by its hash
    expect(image?.labels).toMatchObject({ [LABEL.run]: run.id, [LABEL.package]: packaged.digest, [LABEL.plan]: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) })

    const key = (await hyper.run("endpoints", "key", "boxed")).stdout.trim()
    const client = new OpenAI({ baseURL: endpoint.url, apiKey: key, maxRetries: 0 })
    const answer = await client.chat.completions.create({ model: "boxed", messages: [{ role: "user", content: "What are your opening hours?" }], max_tokens: 24, temperature: 0 })
    expect(answer.choices[0]?.message.content?.length).toBeGreaterThan(0)
    const own = { [LABEL.home]: homeLabel(hyper.root) }
    expect(await use((containers) => containers.list(own))).toMatchObject([{ state: "running", labels: { [LABEL.run]: run.id, [LABEL.step]: "serve" } }])

    // neither the engine's disk nor the home holds a row of the data; the scan finds a planted one
    const row = JSON.parse(readFileSync(join(repository, "fixtures/data/tickets.jsonl"), "utf8").split("\n")[0]!).messages[1].content as string
    const disk = join(dirname(engine.address.path), "data")
    const holding = async () => (await promisify(execFile)("grep", ["-rlF", "--devices=skip", row, disk, hyper.home]).catch((error: { readonly stdout: string }) => error)).stdout.trim()
    expect(await holding()).toBe("")
    writeFileSync(join(disk, "planted"), `before ${row} after`)
    expect(await holding()).toBe(join(disk, "planted"))
    rmSync(join(disk, "planted"))

    const doctor = JSON.parse((await hyper.run("doctor", "--json")).stdout) as ReadonlyArray<{ readonly name: string; readonly state: string }>
    expect(doctor).toContainEqual(expect.objectContaining({ name: "docker", state: "ok", detail: expect.stringContaining("engine 2") }))
    expect(doctor).toContainEqual(expect.objectContaining({ name: "sandbox", state: "ok", detail: expect.stringContaining("container") }))
    expect(await hyper.get<{ containers: boolean }>("/api/v1/me")).toMatchObject({ containers: true })

    expect((await hyper.run("stop")).code).toBe(0)
    expect(await use((containers) => containers.list(own))).toEqual([])
  }, 600_000)

  it("with no engine: refused when it is planned, with the alternative, and nothing is made", async () => {
    const bare = new Hyper({ DOCKER_HOST: "unix:///nonexistent/docker.sock" })
    try {
      const refused = await bare.run("run", boxed)
      expect(refused.code).toBe(4)
      expect(refused.stderr).toMatch(/no Docker engine answers[^]*oci\(\)/)
      expect(JSON.parse((await bare.run("runs", "--json")).stdout)).toEqual([])
    } finally {
      await bare.close()
    }
  })
})
