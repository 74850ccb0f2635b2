/** Pulls base models from Debian's docker-registry through a recording proxy; skopeo or our own push put them there. */
import { execFile } from "node:child_process"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import type { ShortStage } from "@hypernode/engine/plugin/Plugin"
import type { Model } from "@hypernode/engine/stage/values"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { CONFIG_MEDIA_TYPE, MANIFEST_MEDIA_TYPE } from "../../src/oci/ModelPack.ts"
import type { PullOptions } from "../../src/oci/Options.ts"
import plugin from "../../src/oci/plugin.ts"
import { basic, credentials, packageOnce, secretValue, sha256, texts } from "./pushing.ts"
import { type Proxy, startProxy } from "./recordingProxy.ts"
import { type RegistryServer, registryPresent, startRegistry } from "./registryServer.ts"
import { baseModel } from "./safetensorsFile.ts"
import { world, type World } from "./world.ts"

const select = plugin.stages.select!.body as ShortStage<PullOptions, {}, { readonly model: Model }>
const skopeoPresent = await promisify(execFile)("skopeo", ["--version"]).then(() => true, () => false)
const WEIGHTS = 500_000 // elements, 2 MB

describe.skipIf(!registryPresent)("pull", () => {
  let registry: RegistryServer
  let proxy: Proxy
  let author: World
  let w: World
  let files: ReturnType<typeof baseModel>
  let digest = ""
  beforeAll(async () => {
    registry = await startRegistry({ auth: "htpasswd" })
    author = await world({ REGISTRY: secretValue })
    files = baseModel(WEIGHTS)
    digest = (await packageOnce(author, { push: { to: `${registry.host}/team/base:v1`, credentials } }, files)).digest
  })
  afterAll(async () => {
    await author?.dispose()
    await registry?.stop()
  })
  beforeEach(async () => {
    proxy = await startProxy(registry.host)
    w = await world({ REGISTRY: secretValue })
  })
  afterEach(async () => {
    await proxy.close()
    await w.dispose()
  })
  const pull = (what = "/team/base:v1", given: Partial<PullOptions> = { credentials }, at = w) => at.run(select.run(at.context({ model: `${proxy.host}${what}`, ...given }, {}))).then(({ model }) => model)
  const blobs = () => proxy.passed.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"))
  const partials = () => readdir(join(w.home, "cache", "oci", "partial")).catch(() => [])
  /** A manifest as somebody else might have written it. */
  const plant = async (tag: string, change: (manifest: any) => unknown): Promise<void> => {
    const manifest = JSON.parse(await readFile(join(author.home, "packages", "support-bot", "blobs", "sha256", digest.slice(7)), "utf8"))
    const answer = await fetch(`http://${registry.host}/v2/team/base/manifests/${tag}`, { method: "PUT", headers: { ...basic(), "content-type": MANIFEST_MEDIA_TYPE }, body: JSON.stringify(change(manifest)) })
    expect(answer.status).toBe(201)
  }

  it("takes a model by its tag and pins the digest", async () => {
    const model = await pull()
    expect(model).toMatchObject({ name: "base", revision: digest, source: `oci:${proxy.host}/team/base@${digest}`, architecture: "LlamaForCausalLM", parameters: WEIGHTS, license: "apache-2.0" })
    const tree = await w.run(w.store.tree(model.tree))
    expect(Object.fromEntries(tree.files.map(({ digest, path }) => [path, digest]))).toEqual(Object.fromEntries(Object.entries(files).map(([path, content]) => [path, sha256(content)])))
    expect(await partials()).toEqual([])
    const { done, total } = w.reported.at(-1)!
    expect([done, total]).toEqual([total, Object.values(files).reduce((sum, content) => sum + content.length, 0)])
    // the same by digest, and nothing moves that is here
    proxy.passed.length = 0
    expect((await pull(`/team/base@${digest}`)).tree).toEqual(model.tree)
    expect(blobs()).toEqual([])
  })

  it("brings a blob once, also for two steps that want it at the same time", async () => {
    const [one, other] = await Promise.all([pull(), pull()])
    expect(other).toEqual(one)
    expect(blobs()).toHaveLength(Object.keys(files).length)
    expect(await partials()).toEqual([])
  })

  it.skipIf(!skopeoPresent)("takes what skopeo put there", async () => {
    await promisify(execFile)("skopeo", ["copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", secretValue, `oci:${join(author.home, "packages", "support-bot")}:latest`, `docker://${registry.host}/other/base:by-skopeo`])
    expect((await pull("/other/base:by-skopeo")).revision).toBe(digest)
  })

  it("goes on where it was cut off, within an attempt and after one", async () => {
    const weights = `/v2/team/base/blobs/${sha256(files["model.safetensors"]!)}`
    const froms = () => blobs().filter(({ path }) => path === weights).map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]))
    proxy.faults = { cutDownload: { after: 300_000, times: 3 } }
    await pull()
    expect(froms()).toHaveLength(4)
    expect(froms()[0]).toBe(0)
    expect(froms()).toEqual(froms().toSorted((x, y) => x - y))
    expect(froms()[3]).toBeGreaterThan(600_000)
    const other = await world({ REGISTRY: secretValue })
    try {
      proxy.passed.length = 0
      proxy.faults = { cutDownload: { after: 300_000, times: 1 }, answer: { match: new RegExp(`GET ${weights}`), status: 500, times: 9, skip: 1 } }
      await expect(pull(undefined, undefined, other)).rejects.toMatchObject({ reason: "Unavailable" })
      proxy.faults = {}
      expect((await pull(undefined, undefined, other)).revision).toBe(digest)
      expect(froms()).toHaveLength(3)
      expect(froms()[2]).toBeGreaterThan(200_000)
    } finally {
      await other.dispose()
    }
  })

  it("ends an attempt whose answers bring nothing, and starts anew where there are no ranges", async () => {
    proxy.faults = { cutDownload: { after: 0, times: 999 } }
    await expect(pull()).rejects.toMatchObject({ reason: "Unavailable", remedy: expect.stringContaining("hyper resume") })
    proxy.faults = { cutDownload: { after: 300_000, times: 1 }, noRanges: true }
    expect((await pull()).revision).toBe(digest)
  })

  it("wrong digest: of a blob, of the manifest, in a header; nothing of it is kept", async () => {
    const weights = sha256(files["model.safetensors"]!)
    proxy.faults = { flipDownload: new RegExp(`GET .*${weights}`) }
    await expect(pull()).rejects.toMatchObject({ reason: "Corrupt", message: expect.stringContaining("model.safetensors"), remedy: expect.stringContaining("Nothing of it was kept") })
    expect((await partials()).filter((name) => name.includes(weights.slice(7)))).toEqual([])
    expect(await w.run(w.store.has(weights))).toBe(false)
    for (const faults of [{ flipDownload: /GET .*manifests/ }, { lie: /GET .*manifests/ }]) {
      proxy.faults = faults
      await expect(pull()).rejects.toMatchObject({ reason: "Corrupt", message: expect.stringContaining("manifest") })
      await expect(pull(`/team/base@${digest}`)).rejects.toMatchObject({ reason: "Corrupt" })
    }
    proxy.faults = {}
    expect((await pull()).revision).toBe(digest)
  })

  it("401, 404, 500: what to do next, and no secret", async () => {
    await expect(pull(undefined, {})).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("wants credentials to read team/base") })
    const wrong = await world({ REGISTRY: "hyper:not-the-password" })
    const denied = await pull(undefined, undefined, wrong).catch((error: unknown) => error)
    expect(denied).toMatchObject({ reason: "Denied", message: expect.stringContaining("does not accept") })
    expect(texts(wrong, denied)).not.toContain("not-the-password")
    await wrong.dispose()
    await expect(pull("/team/base:v9")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("no such model") })
    await expect(pull("/team/none")).rejects.toMatchObject({ reason: "InvalidInput" })
    proxy.faults = { answer: { match: /GET .*blobs/, status: 500, times: 99 } }
    await expect(pull()).rejects.toMatchObject({ reason: "Unavailable", message: expect.stringContaining("HTTP 500") })
  })

  it("refuses what is no model", async () => {
    await plant("image", (m) => ({ ...m, artifactType: undefined, config: { ...m.config, mediaType: "application/vnd.oci.image.config.v1+json" } }))
    await expect(pull("/team/base:image")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("a container image") })
    await plant("adapter", (m) => ({ ...m, annotations: { ...m.annotations, "ai.hypernode.form": "adapter" } }))
    await expect(pull("/team/base:adapter")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("an adapter") })
    await plant("tar", (m) => ({ ...m, layers: [{ ...m.layers[0], mediaType: "application/vnd.cncf.model.weight.v1.tar" }] }))
    await expect(pull("/team/base:tar")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("raw layers") })
    await plant("unnamed", (m) => ({ ...m, layers: m.layers.map((layer: object) => ({ ...layer, annotations: {} })) }))
    await expect(pull("/team/base:unnamed")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("without a file name") })
    await plant("weightless", (m) => ({ ...m, layers: m.layers.filter((layer: any) => !layer.annotations["org.cncf.model.filepath"].endsWith(".safetensors")) }))
    await expect(pull("/team/base:weightless")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("no weights") })
    await plant("twice", (m) => ({ ...m, layers: [...m.layers, m.layers[0]] }))
    await expect(pull("/team/base:twice")).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("two layers") })
    // a path out of the directory is no model file: left where it is
    await plant("escape", (m) => ({ ...m, config: { ...m.config, mediaType: CONFIG_MEDIA_TYPE }, layers: [...m.layers, { ...m.layers[0], annotations: { "org.cncf.model.filepath": "../../escape.safetensors" } }] }))
    expect((await w.run(w.store.tree((await pull("/team/base:escape")).tree))).files.map(({ path }) => path)).toEqual(Object.keys(files).toSorted())
  })
})
