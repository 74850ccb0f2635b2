/** A push holds no file in memory: the peak of a process that pushes 256 MiB, beside one that pushes 1 MiB. */
import { execFile } from "node:child_process"
import { mkdir, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { digestAt, freshFiles } from "./pushing.ts"
import { registryPresent, type RegistryServer, startRegistry } from "./registryServer.ts"
import { exportedOf, world } from "./world.ts"

const MIB = 1 << 20
/** What the larger push may take more: buffers of four blobs at a time, and what a collector has not got round to. */
const ROOM = 96 * MIB

describe.skipIf(!registryPresent)("memory", () => {
  let registry: RegistryServer
  beforeAll(async () => {
    registry = await startRegistry()
  })
  afterAll(() => registry?.stop())
  /** Peak resident bytes. */
  const peak = async (mib: number, repository: string, hold: "0" | "1" = "0"): Promise<number> => {
    const w = await world()
    try {
      const source = join(w.home, "model")
      await mkdir(source)
      await writeFile(join(source, "config.json"), freshFiles(0)["config.json"]!)
      await writeFile(join(source, "model.safetensors"), String(mib))
      await truncate(join(source, "model.safetensors"), mib * MIB)
      const checkpoint = exportedOf(await Effect.runPromise(w.store.putTree(source, { move: true })))
      await writeFile(join(w.home, "job.json"), JSON.stringify({ options: { push: { to: `${registry.host}/${repository}` } }, checkpoint }))
      const { stdout } = await promisify(execFile)(process.execPath, [join(import.meta.dirname, "pushProgram.ts"), w.home], { env: { ...process.env, HOLD: hold } })
      expect(await digestAt(registry.host, repository, "latest")).toBeDefined()
      return Number(stdout)
    } finally {
      await w.dispose()
    }
  }

  it("is flat", async () => {
    const small = await peak(1, "memory/small")
    const large = await peak(256, "memory/large")
    expect(large - small).toBeLessThan(ROOM)
    // the planted fault: one that holds its files is seen
    expect((await peak(192, "memory/held", "1")) - small).toBeGreaterThan(ROOM)
  })
})
