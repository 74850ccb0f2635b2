/**
 * An image that needs nothing of this machine: the pinned requirements are installed from the package index while it is built (gigabytes),
 * and it answers without a mount. Minutes, and some 12 GB of disk; so it is no part of `npm test`.
 */
import { execFile } from "node:child_process"
import { mkdirSync } from "node:fs"
import { promisify } from "node:util"
import { Containers } from "@hypernode/engine/capability/Containers"
import { Endpoints } from "@hypernode/engine/capability/Endpoints"
import { noDockerd, startEngine, type TestEngine } from "@hypernode/engine/testing/dockerEngine"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import OpenAI from "openai"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Options as ServeOptions } from "../../src/container/Options.ts"
import { serve } from "../../src/container/serve.ts"
import { build } from "../../src/oci-image/build.ts"
import { Options } from "../../src/oci-image/Options.ts"
import { contextOf, FIXTURE, noPython, openWorld, packagedOf, type World } from "../serving/world.ts"
import { BASE, pythonBase } from "./pythonBase.ts"

const lacks = noDockerd() ?? noPython()

describe.skipIf(lacks !== undefined)("an image with everything in it", () => {
  let engine: TestEngine
  let world: World
  beforeAll(async () => {
    engine = await startEngine()
    process.env["DOCKER_HOST"] = engine.url
    world = openWorld()
    mkdirSync(world.home.scratch, { recursive: true })
  })
  afterAll(async () => {
    await world?.close()
    await engine?.stop()
  })

  it("is built, answers behind the gateway without a mount, and answers to a plain docker run on its health check", async () => {
    await world.run(Effect.gen(function*() {
      yield* pythonBase(process.env["HYPER_PYTHON"]!)
      const { exported } = yield* packagedOf(FIXTURE, "tiny")
      const context = contextOf(world.home, {} as never, {})
      const packaged = yield* build({ ...context, options: Schema.decodeUnknownSync(Options)({ name: "whole", base: BASE, network: "host" }), input: { checkpoint: exported } })
      const endpoint = yield* serve({ ...context, input: { packaged }, options: Schema.decodeUnknownSync(ServeOptions)({}) })
      const client = new OpenAI({ baseURL: endpoint.url, apiKey: yield* Effect.flatMap(Endpoints, (endpoints) => endpoints.apiKey(endpoint.id)), maxRetries: 0 })
      const answer = yield* Effect.promise(() => client.chat.completions.create({ model: "whole", messages: [{ role: "user", content: "Are you open on Tuesday?" }], max_completion_tokens: 12, temperature: 0 }))
      console.log(`answer: ${answer.choices[0]?.message.content}; image ${packaged.image!.size} bytes`)
      expect((answer.choices[0]?.message.content ?? "").length).toBeGreaterThan(3)

      const docker = (...args: ReadonlyArray<string>) => Effect.promise(async () => (await promisify(execFile)("docker", ["-H", engine.url, ...args])).stdout.trim())
      const id = yield* docker("run", "-d", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--health-interval", "2s", packaged.image!.reference)
      let health = ""
      for (let i = 0; i < 300 && health !== "healthy"; i++) {
        yield* Effect.sleep(500)
        health = yield* docker("inspect", "--format", "{{.State.Health.Status}}", id)
      }
      expect(health).toBe("healthy")
      const containers = yield* Containers
      yield* containers.remove(id)
    }))
  })
})
