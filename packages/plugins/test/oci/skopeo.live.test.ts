/** The layout as others see it: skopeo (containers/image, an independent implementation) copies it, digest unchanged. */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { appendFile, chmod, readFile, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import type { Packaged } from "@hypernode/engine/stage/values"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { blobPath } from "../../src/oci/Layout.ts"
import type { OciOptions } from "../../src/oci/Options.ts"
import plugin from "../../src/oci/plugin.ts"
import { exportedOf, modelFiles, world, type World } from "./world.ts"

const skopeo = async (...args: ReadonlyArray<string>) => (await promisify(execFile)("skopeo", args)).stdout
const present = await skopeo("--version").then(() => true, () => false)
if (!present && process.env["CI"] === "true") throw new Error("skopeo is not installed: apt-get install skopeo")
if (!present) console.warn("skipped: skopeo is not installed (apt-get install skopeo)")

describe.skipIf(!present)("skopeo", () => {
  let w: World
  let packaged: Packaged
  beforeAll(async () => {
    w = await world()
    const body = plugin.stages.package!.body as ShortStage<OciOptions, { readonly checkpoint: Packaged["exported"] }, Packaged>
    packaged = await w.run(body.run(w.context({ tag: "v1" }, { checkpoint: exportedOf(await w.tree(modelFiles)) })))
  })
  afterAll(() => w.dispose())
  const reference = () => `oci:${join(w.home, packaged.layout)}:v1`

  it("reads the manifest byte for byte", async () => {
    const raw = await skopeo("inspect", "--raw", reference())
    expect(`sha256:${createHash("sha256").update(raw).digest("hex")}`).toBe(packaged.digest)
  })
  it("copies it to a directory and to another layout, digest unchanged", async () => {
    const directory = join(w.home, "copied")
    await skopeo("copy", "--insecure-policy", reference(), `dir:${directory}`)
    const manifest = await readFile(join(directory, "manifest.json"))
    expect(`sha256:${createHash("sha256").update(manifest).digest("hex")}`).toBe(packaged.digest)
    const { layers } = JSON.parse(manifest.toString("utf8")) as { layers: Array<{ digest: string; annotations: Record<string, string> }> }
    for (const layer of layers) {
      expect(await readFile(join(directory, layer.digest.slice(7)))).toEqual(Buffer.from(modelFiles[layer.annotations["org.cncf.model.filepath"] as keyof typeof modelFiles]))
    }
    const digestFile = join(w.home, "digest")
    await skopeo("copy", "--insecure-policy", `--digestfile=${digestFile}`, reference(), `oci:${join(w.home, "again")}:v1`)
    expect((await readFile(digestFile, "utf8")).trim()).toBe(packaged.digest)
    expect((await readdir(join(w.home, "again", "blobs", "sha256"))).length).toBe(layers.length + 2)
  })
  it("is refused by it when a layer was tampered with: the check above can fail", async () => {
    const path = blobPath(join(w.home, packaged.layout), `sha256:${createHash("sha256").update(modelFiles["model.safetensors"]).digest("hex")}`)
    await chmod(path, 0o644)
    await appendFile(path, "x")
    await expect(skopeo("copy", "--insecure-policy", reference(), `dir:${join(w.home, "tampered")}`)).rejects.toThrow(/[Dd]igest|size/)
    await rm(path)
  })
})
