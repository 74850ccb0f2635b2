/** What is said of a push and a pull at plan time, and what a wrong option may not repeat. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { decodeOptions } from "@hypernode/engine/plan/options"
import * as Effect from "effect/Effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { oci, ociModel } from "../../src/oci/index.ts"
import plugin from "../../src/oci/plugin.ts"

const stages = { package: plugin.stages.package!, select: plugin.stages.select! }
const issues = async (kind: keyof typeof stages, options: unknown): Promise<string> => {
  const decoded = await Effect.runPromise(decodeOptions(stages[kind] as never, options, `steps.${kind}.options`, "oci"))
  return decoded.ok ? "" : JSON.stringify(decoded.issues)
}
const estimate = (kind: keyof typeof stages, options: unknown) => Effect.runPromise(stages[kind].estimate!(options as never, { projectDirectory: "." }))
const credentials = { $secret: "REGISTRY" }

let directory = ""
const before = process.env["DOCKER_CONFIG"]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "options-"))
  process.env["DOCKER_CONFIG"] = directory
})
afterEach(async () => {
  if (before === undefined) delete process.env["DOCKER_CONFIG"]
  else process.env["DOCKER_CONFIG"] = before
  await rm(directory, { recursive: true, force: true })
})

describe("options", () => {
  it("of the factories are taken", async () => {
    for (const { kind, options } of [oci(), oci({ push: { to: "ghcr.io/a/b:v1", credentials, insecure: false } }), oci({ push: { to: "ghcr.io/a/b", credentials: "docker" } })]) expect(await issues(kind, options)).toBe("")
    expect(await issues("select", ociModel({ model: "ghcr.io/a/b:v1", credentials }).options)).toBe("")
    expect(await issues("select", ociModel({ model: `ghcr.io/a/b@sha256:${"0".repeat(64)}` }).options)).toBe("")
  })
  it("that are wrong are named, and a password in an address is not repeated", async () => {
    const said = await issues("package", { push: { to: "user:hunter2@ghcr.io/a/b" } })
    expect(said).toMatch(/steps\.package\.options\.push\.to.*no user or password/)
    expect(said).not.toContain("hunter2")
    expect(await issues("package", { push: { to: "https://ghcr.io/a/b" } })).toContain("without https://")
    expect(await issues("package", { push: { to: `ghcr.io/a/b@sha256:${"0".repeat(64)}` } })).toContain("a push goes to a tag")
    expect(await issues("package", { push: { to: "ghcr.io/a/b", credentials: "hunter2" } })).not.toContain("hunter2")
    expect(await issues("package", { push: { to: "ghcr.io/a/b", credentials: "hunter2" } })).not.toBe("")
    expect(await issues("package", { push: { to: "ghcr.io/a/b", credentails: credentials } })).toContain("credentials")
    expect(await issues("select", { model: "just-a-name" })).toContain("registry's host")
  })
})

describe("estimate", () => {
  it("names where a push goes", async () => {
    expect(await estimate("package", {})).toMatchObject({ sideEffects: ["writes an OCI layout below packages/ of the home"], hosts: [] })
    const pushes = await estimate("package", { tag: "v2", push: { to: "ghcr.io/a/b", credentials } })
    expect(pushes).toEqual({ notes: [], tools: [], hosts: ["ghcr.io"], sideEffects: ["writes an OCI layout below packages/ of the home", "pushes the package to ghcr.io/a/b:v2"] })
  })
  it("warns of an open line, and says before the training that there are no credentials", async () => {
    const open = await estimate("package", { push: { to: "10.0.0.1:5000/a/b", insecure: true, credentials } })
    expect(open.notes).toMatchObject([{ level: "warn", message: expect.stringContaining("unencrypted") }])
    expect((await estimate("package", { push: { to: "127.0.0.1:5000/a/b" } })).notes).toEqual([])
    const docker = { push: { to: "ghcr.io/a/b", credentials: "docker" } }
    expect((await estimate("package", docker)).notes).toMatchObject([{ level: "refuse", message: expect.stringContaining("does not exist") }])
    await writeFile(join(directory, "config.json"), JSON.stringify({ auths: { "ghcr.io": { auth: "YTpi" } } }))
    expect((await estimate("package", docker)).notes).toEqual([])
  })
  it("says that a tag of a base model is pinned", async () => {
    expect((await estimate("select", { model: "ghcr.io/a/b" })).notes).toMatchObject([{ level: "info", message: expect.stringContaining("ghcr.io/a/b:latest is pinned") }])
    expect((await estimate("select", { model: `ghcr.io/a/b@sha256:${"0".repeat(64)}` })).notes).toEqual([])
  })
})
