import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { appendFile, chmod, mkdir, readFile, readdir, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import type { Packaged } from "@hypernode/engine/stage/values"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { addBlob, blobPath, prepareLayout, tagManifest } from "../../src/oci/Layout.ts"
import { paramSize } from "../../src/oci/ModelPack.ts"
import { OciOptions } from "../../src/oci/Options.ts"
import plugin from "../../src/oci/plugin.ts"
import { exportedOf, modelFiles, world, type World } from "./world.ts"

const definition = plugin.stages.package!
const body = definition.body as ShortStage<OciOptions, { readonly checkpoint: Packaged["exported"] }, Packaged>
const sha256 = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

let w: World
beforeEach(async () => {
  w = await world()
})
afterEach(() => w.dispose())

const packaged = async (options: OciOptions = {}, files: Parameters<World["tree"]>[0] = modelFiles, form: Packaged["exported"]["form"] = "merged", at = w, pipeline?: string) => {
  const checkpoint = exportedOf(await at.tree(files), form)
  return at.run(body.run(at.context(options, { checkpoint }, pipeline)))
}
const manifestAt = async (p: Packaged) => JSON.parse(await readFile(blobPath(join(w.home, p.layout), p.digest), "utf8"))
const indexAt = async (p: Packaged) => JSON.parse(await readFile(join(w.home, p.layout, "index.json"), "utf8"))
const alive = (p: Packaged, options: OciOptions = {}, pipeline?: string) => w.run(definition.alive!(p, w.context(options, undefined, pipeline)))

describe("oci", () => {
  it("writes a ModelPack artifact: one raw blob a file, each under its digest", async () => {
    const p = await packaged()
    expect(p).toMatchObject({ name: "support-bot", layout: "packages/support-bot", artifactType: "application/vnd.cncf.model.manifest.v1+json" })
    const layout = join(w.home, p.layout)
    expect(JSON.parse(await readFile(join(layout, "oci-layout"), "utf8"))).toEqual({ imageLayoutVersion: "1.0.0" })
    const manifest = await manifestAt(p)
    expect(manifest).toMatchObject({ schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", artifactType: p.artifactType })
    expect(Object.fromEntries(manifest.layers.map((l: any) => [l.annotations["org.cncf.model.filepath"], l.mediaType]))).toEqual({
      "README.md": "application/vnd.cncf.model.doc.v1.raw",
      "config.json": "application/vnd.cncf.model.weight.config.v1.raw",
      "model.safetensors": "application/vnd.cncf.model.weight.v1.raw",
      "odd.xyz": "application/vnd.cncf.model.weight.config.v1.raw",
      "tokenizer.json": "application/vnd.cncf.model.weight.config.v1.raw"
    })
    const config = JSON.parse(await readFile(blobPath(layout, manifest.config.digest), "utf8"))
    expect(config.config).toMatchObject({ format: "safetensors", precision: "fp32", paramSize: "134.5m" })
    expect(config.modelfs).toEqual({ type: "layers", diffIds: manifest.layers.map((l: any) => l.digest) })
    expect(config.descriptor).toMatchObject({ name: "support-bot", licenses: ["apache-2.0"], sourceURL: "https://huggingface.co/org/tiny" })
    for (const name of await readdir(join(layout, "blobs", "sha256"))) {
      expect(sha256(await readFile(join(layout, "blobs", "sha256", name)))).toBe(`sha256:${name}`)
    }
    expect(await indexAt(p)).toMatchObject({ manifests: [{ digest: p.digest, artifactType: p.artifactType, annotations: { "org.opencontainers.image.ref.name": "latest" } }] })
    expect((await readdir(layout)).sort()).toEqual(["blobs", "index.json", "oci-layout"])
  })

  it("gives the same digest in two homes, and another one for other bytes", async () => {
    const other = await world()
    try {
      const here = await packaged()
      await new Promise((resolve) => setTimeout(resolve, 5))
      expect((await packaged({}, modelFiles, "merged", other)).digest).toBe(here.digest)
      expect((await packaged({}, { ...modelFiles, "tokenizer.json": "{ }" }, "merged", other)).digest).not.toBe(here.digest)
    } finally {
      await other.dispose()
    }
  })

  it("links blobs from the store, so packaging takes no second copy", async () => {
    const p = await packaged()
    const weights = sha256(modelFiles["model.safetensors"])
    const [mine, stores] = await Promise.all([stat(blobPath(join(w.home, p.layout), weights)), stat(join(w.home, "artifacts", "blobs", "sha256", weights.slice(7)))])
    expect(mine.ino).toBe(stores.ino)
  })

  it("moves the tag to a second package and keeps the first by its digest", async () => {
    const first = await packaged()
    const second = await packaged({}, { ...modelFiles, "tokenizer.json": "[2]" })
    const { manifests } = await indexAt(second)
    expect(manifests.map((m: any) => [m.digest, m.annotations?.["org.opencontainers.image.ref.name"]])).toEqual([[first.digest, undefined], [second.digest, "latest"]])
    expect(await alive(first)).toBe(true)
    await packaged()
    await packaged()
    expect((await indexAt(first)).manifests.map((m: any) => m.digest).sort()).toEqual([first.digest, second.digest].sort())
  })

  it("packs an adapter beside nothing of its base, and names the base", async () => {
    const p = await packaged({}, { "adapter_config.json": "{}", "adapter_model.safetensors": Buffer.alloc(64) }, "adapter")
    const manifest = await manifestAt(p)
    expect(manifest.layers).toHaveLength(2)
    expect(manifest.annotations).toMatchObject({ "ai.hypernode.form": "adapter", "ai.hypernode.base.name": "org/tiny", "ai.hypernode.base.revision": "abc", "ai.hypernode.base.tree": p.exported.base.tree.digest })
    expect(JSON.parse(await readFile(blobPath(join(w.home, p.layout), manifest.config.digest), "utf8")).config.paramSize).toBeUndefined()
  })

  it("adds the user's annotations and refuses ours", async () => {
    expect((await manifestAt(await packaged({ annotations: { "com.example.team": "support" } }))).annotations["com.example.team"]).toBe("support")
    const decode = Schema.decodeUnknownSync(OciOptions)
    expect(() => decode({ annotations: { "ai.hypernode.form": "full" } })).toThrow(/set by this plugin|ai\.hypernode/)
    expect(() => decode({ name: "Bad Name" })).toThrow(/lower-case/)
    expect(() => decode({ name: "../escape" })).toThrow()
    expect(() => decode({ tag: "a b" })).toThrow()
  })

  it("refuses an empty checkpoint, and a damaged blob without an index that names it", async () => {
    await mkdir(join(w.home, "empty"))
    const empty = exportedOf(await Effect.runPromise(w.store.putTree(join(w.home, "empty"))))
    await expect(w.run(body.run(w.context({}, { checkpoint: empty })))).rejects.toMatchObject({ reason: "InvalidInput" })
    const checkpoint = exportedOf(await w.tree(modelFiles))
    const blob = join(w.home, "artifacts", "blobs", "sha256", sha256(modelFiles["model.safetensors"]).slice(7))
    await chmod(blob, 0o644)
    await appendFile(blob, "x")
    await expect(w.run(body.run(w.context({}, { checkpoint })))).rejects.toMatchObject({ reason: "Corrupt" })
    await expect(readFile(join(w.home, "packages", "support-bot", "index.json"))).rejects.toMatchObject({ code: "ENOENT" })
  })

  it("names a directory that is no layout", async () => {
    await mkdir(join(w.home, "packages", "support-bot"), { recursive: true })
    await writeFile(join(w.home, "packages", "support-bot", "index.json"), "not json")
    await expect(packaged()).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("index.json") })
  })

  it("knows when a package no longer stands", async () => {
    const p = await packaged()
    const layout = join(w.home, p.layout)
    expect(await alive(p)).toBe(true)
    expect(await alive(p, {}, "another pipeline")).toBe(false)
    const weights = blobPath(layout, sha256(modelFiles["model.safetensors"]))
    await rm(weights)
    expect(await alive(p)).toBe(false)
    await writeFile(weights, Buffer.alloc(10))
    expect(await alive(p)).toBe(false)
    // packaging again repairs it
    await packaged()
    expect(await alive(p)).toBe(true)
    await rm(blobPath(layout, p.digest))
    await writeFile(blobPath(layout, p.digest), "{}")
    expect(await alive(p)).toBe(false)
  })
})

describe("layout", () => {
  const entry = (n: number) => ({ mediaType: "m", digest: sha256(Buffer.from(String(n))), size: 1 })

  it("loses no package when many write at once, also from several processes", async () => {
    const layout = join(w.home, "layout")
    await prepareLayout(layout)
    const program = `import { tagManifest } from ${JSON.stringify(new URL("../../src/oci/Layout.ts", import.meta.url).href)}
      const entries = JSON.parse(process.argv[1])
      await Promise.all(entries.map((e, i) => tagManifest(${JSON.stringify(layout)}, "t" + process.pid + "-" + i, e)))`
    const sets = [0, 1].map((k) => Array.from({ length: 6 }, (_, i) => entry(k * 100 + i)))
    await Promise.all([
      ...sets.map((set) => promisify(execFile)(process.execPath, ["--input-type=module", "-e", program, JSON.stringify(set)])),
      ...Array.from({ length: 6 }, (_, i) => tagManifest(layout, `mine-${i}`, entry(1000 + i)))
    ])
    const { manifests } = JSON.parse(await readFile(join(layout, "index.json"), "utf8"))
    expect(new Set(manifests.map((m: any) => m.digest)).size).toBe(18)
    expect((await readdir(layout)).filter((name) => name.startsWith(".index"))).toEqual([])
  })

  it("takes over the lock of a process that died", async () => {
    const layout = join(w.home, "layout")
    await prepareLayout(layout)
    const dead = await promisify(execFile)(process.execPath, ["-p", "process.pid"])
    await writeFile(join(layout, ".index.lock"), dead.stdout)
    await Promise.all([0, 1, 2].map((i) => tagManifest(layout, `t${i}`, entry(i))))
    expect(JSON.parse(await readFile(join(layout, "index.json"), "utf8")).manifests).toHaveLength(3)
  })

  it("replaces a blob that no longer hashes to its name", async () => {
    const layout = join(w.home, "layout")
    await prepareLayout(layout)
    const source = join(w.home, "source")
    await writeFile(source, "good")
    const digest = sha256(Buffer.from("good"))
    await writeFile(blobPath(layout, digest), "evil")
    await addBlob(layout, digest, source)
    expect(await readFile(blobPath(layout, digest), "utf8")).toBe("good")
  })

  it("copies where a link cannot be made", async () => {
    const layout = join(w.home, "layout")
    await prepareLayout(layout)
    const digest = sha256(Buffer.from("shm"))
    const elsewhere = join("/dev/shm", `oci-test-${process.pid}`)
    const shared = await stat("/dev/shm").then((s) => s.dev, () => undefined)
    if (shared === undefined || shared === (await stat(layout)).dev) return expect(process.env["CI"], "no second file system to copy from").toBeUndefined()
    await writeFile(elsewhere, "shm")
    try {
      expect(await addBlob(layout, digest, elsewhere)).toBe(3)
      expect(await addBlob(layout, digest, elsewhere)).toBe(0)
    } finally {
      await rm(elsewhere)
    }
    expect(await readFile(blobPath(layout, digest), "utf8")).toBe("shm")
  })
})

it.each([[999, "1k"], [1000, "1k"], [2_360_000, "2.4m"], [999_999, "1m"], [134_515_008, "134.5m"], [8_030_261_248, "8b"], [6_700_000_000, "6.7b"]])("paramSize(%d) is %s", (n, text) => {
  expect(paramSize(n)).toBe(text)
})
