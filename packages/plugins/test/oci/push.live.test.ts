/** Pushes to Debian's docker-registry with basic auth, a recording proxy before it; skopeo reads what arrived. */
import { execFile, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { blobPath } from "../../src/oci/Layout.ts"
import { MANIFEST_MEDIA_TYPE } from "../../src/oci/ModelPack.ts"
import { alive, basic, body, credentials, digestAt, freshFiles, packageOnce, secretValue, sha256, tagsOf, texts } from "./pushing.ts"
import { type Proxy, startProxy, WRONG } from "./recordingProxy.ts"
import { mountsPossible, PASSWORD, type RegistryServer, registryPresent, startRegistry, USER } from "./registryServer.ts"
import { exportedOf, world, type World } from "./world.ts"

const skopeoPresent = await promisify(execFile)("skopeo", ["--version"]).then(() => true, () => false)
const basicBytes = Buffer.from(secretValue).toString("base64")

describe.skipIf(!registryPresent)("push", () => {
  let registry: RegistryServer
  let proxy: Proxy
  let w: World
  let n = 0
  let repository = ""
  beforeAll(async () => {
    registry = await startRegistry({ auth: "htpasswd" })
  })
  afterAll(() => registry?.stop())
  beforeEach(async () => {
    proxy = await startProxy(registry.host)
    w = await world({ REGISTRY: secretValue })
    repository = `team/model-${n++}`
  })
  afterEach(async () => {
    await proxy.close()
    await w.dispose()
  })
  const to = (tag = "v1") => ({ push: { to: `${proxy.host}/${repository}:${tag}`, credentials } })

  it("brings a package there under its own digest, and says where", async () => {
    const files = freshFiles()
    const packaged = await packageOnce(w, to(), files)
    expect(packaged.pushed).toEqual({ reference: `${proxy.host}/${repository}@${packaged.digest}`, tag: "v1" })
    expect(await tagsOf(registry.host, repository)).toEqual(["v1"])
    expect(await digestAt(registry.host, repository, "v1")).toBe(packaged.digest)
    expect(w.logged.at(-1)).toMatch(/Pushed .*: 4 of 4 blobs sent/)
    const total = w.reported.filter(({ label }) => label.startsWith("pushing")).at(-1)!
    expect(total.done).toBe(total.total)
    expect(total.total).toBeGreaterThan(300_000)
    // whole files, with their length said beforehand, after the blobs were asked for
    expect(proxy.uploads().map(({ bytes }) => bytes).toSorted((a, b) => b - a)[0]).toBe(300_000)
    const puts = proxy.passed.filter(({ method, path }) => method === "PUT" && path.includes("/manifests/")).map(({ path }) => path)
    expect(puts).toEqual([`/v2/${repository}/manifests/${packaged.digest}`, `/v2/${repository}/manifests/v1`])
    expect(proxy.passed.at(-1)!.path).toBe(puts[1])
  })

  it.skipIf(!skopeoPresent)("is read by skopeo: the same manifest, every file", async () => {
    const files = freshFiles()
    const packaged = await packageOnce(w, to(), files)
    const source = `docker://${registry.host}/${repository}:v1`
    const { stdout } = await promisify(execFile)("skopeo", ["inspect", "--raw", "--tls-verify=false", "--creds", secretValue, source])
    expect(sha256(stdout)).toBe(packaged.digest)
    const directory = join(w.home, "copied")
    await promisify(execFile)("skopeo", ["copy", "--insecure-policy", "--src-tls-verify=false", "--src-creds", secretValue, source, `dir:${directory}`])
    expect(sha256(await readFile(join(directory, "manifest.json")))).toBe(packaged.digest)
    const { layers } = JSON.parse(stdout) as { readonly layers: ReadonlyArray<{ readonly digest: string; readonly annotations: Record<string, string> }> }
    for (const { annotations, digest } of layers) expect(await readFile(join(directory, digest.slice(7)))).toEqual(Buffer.from(files[annotations["org.cncf.model.filepath"]!]!))
  })

  it("moves no blob and no tag the second time, and only what changed the third", async () => {
    const files = freshFiles()
    const first = await packageOnce(w, to(), files)
    proxy.passed.length = 0
    expect((await packageOnce(w, to(), files)).pushed).toEqual(first.pushed)
    expect(proxy.passed.map(({ method, path }) => `${method} ${path.split("/").at(-2)}`).filter((line) => !line.startsWith("HEAD"))).toEqual([])
    expect(proxy.passed).toHaveLength(1 + 1 + 4 + 1) // a challenge, the tag, four blobs, the tag
    proxy.passed.length = 0
    const third = await packageOnce(w, to(), { ...files, "tokenizer.json": "[1]" })
    // the tokenizer, and the config that names it
    expect(proxy.uploads()).toHaveLength(2)
    expect(await digestAt(registry.host, repository, "v1")).toBe(third.digest)
    expect(await digestAt(registry.host, repository, first.digest)).toBe(first.digest)
  })

  it("mounts blobs from the repository that the base model came from", async () => {
    const files = freshFiles()
    const base = await packageOnce(w, to(), files)
    proxy.passed.length = 0
    const other = { push: { to: `${proxy.host}/${repository}-tuned`, credentials } }
    const tuned = await packageOnce(w, other, { ...files, "tokenizer.json": "[2]" }, (exported) => ({ ...exported, base: { ...exported.base, source: `oci:${base.pushed!.reference}` } }))
    expect(proxy.uploads()).toHaveLength(2)
    expect(w.logged.at(-1)).toContain("2 mounted")
    expect(await digestAt(registry.host, `${repository}-tuned`, "latest")).toBe(tuned.digest)
    // a registry that does not take the question still takes the blobs
    proxy.passed.length = 0
    proxy.faults = { answer: { match: /POST .*mount=/, status: 400, times: 99 } }
    await packageOnce(w, to(), freshFiles())
    expect(proxy.uploads()).toHaveLength(3) // the tokenizer is there already
  })

  it("says whether it still stands there: the tag is asked", async () => {
    const packaged = await packageOnce(w, to(), freshFiles())
    expect(await alive(w, packaged, to())).toBe(true)
    expect(await alive(w, packaged, to("v2"))).toBe(false)
    expect(await alive(w, packaged, {})).toBe(true)
    const { pushed: _, ...unpushed } = packaged
    expect(await alive(w, unpushed, to())).toBe(false)
    await packageOnce(w, to(), freshFiles())
    expect(await alive(w, packaged, to())).toBe(false)
  })

  it("sets a tag once for a step: what somebody set since stays", async () => {
    const files = freshFiles()
    // an attempt that set the tag and died before it could say so
    proxy.faults = { lie: /PUT .*manifests\/v1$/ }
    await expect(packageOnce(w, to(), files)).rejects.toMatchObject({ reason: "Corrupt" })
    proxy.faults = {}
    const theirs = await packageOnce(w, to(), freshFiles()).catch((error: unknown) => error as never)
    expect(await digestAt(registry.host, repository, "v1")).toBe(theirs.digest)
    const ours = await packageOnce(w, to(), files)
    expect(await digestAt(registry.host, repository, "v1")).toBe(theirs.digest)
    expect(await digestAt(registry.host, repository, ours.digest)).toBe(ours.digest)
    expect(w.logged.at(-1)).toMatch(/Somebody has moved/)
    // a step of another run has another key, and may
    const context = { ...w.context(to(), { checkpoint: exportedOf(await w.tree(files)) }), effectKey: "run-2/package" }
    await w.run(body.run(context))
    expect(await digestAt(registry.host, repository, "v1")).toBe(ours.digest)
  })

  describe("bad input", () => {
    it("401: wrong credentials, none, a secret of another form, none set", async () => {
      const files = freshFiles()
      const wrong = await world({ REGISTRY: `${USER}:not-the-password`, SHAPE: "no-colon-here" })
      try {
        const denied = await packageOnce(wrong, to(), files).catch((error: unknown) => error)
        expect(denied).toMatchObject({ reason: "Denied", message: expect.stringContaining("does not accept these credentials (secret REGISTRY)"), remedy: expect.stringContaining("write to") })
        expect(texts(wrong, denied)).not.toMatch(/not-the-password/)
        await expect(packageOnce(wrong, { push: { to: `${proxy.host}/${repository}` } }, files)).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("wants credentials"), remedy: expect.stringContaining("secret(") })
        const shape = await packageOnce(wrong, { push: { to: `${proxy.host}/${repository}`, credentials: { $secret: "SHAPE" } } }, files).catch((error: unknown) => error)
        expect(shape).toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("user:password") })
        expect(texts(wrong, shape)).not.toContain("no-colon-here")
        await expect(packageOnce(wrong, { push: { to: `${proxy.host}/${repository}`, credentials: { $secret: "UNSET" } } }, files)).rejects.toMatchObject({ reason: "Missing" })
      } finally {
        await wrong.dispose()
      }
      expect(proxy.uploads()).toEqual([])
      expect(await tagsOf(registry.host, repository)).toEqual([])
    })

    it("500: tried again by the durable layer, not here; nothing half-done", async () => {
      const files = freshFiles()
      proxy.faults = { answer: { match: /PUT .*uploads/, status: 500, body: `{"errors":[{"code":"UNKNOWN","message":"Authorization: Basic ${basicBytes} of ${PASSWORD}"}]}`, headers: { "retry-after": "7" }, times: 99 } }
      const error = await packageOnce(w, to(), files).catch((e: unknown) => e)
      expect(error).toMatchObject({ reason: "Unavailable", message: expect.stringContaining("HTTP 500"), remedy: expect.stringContaining("log"), retryAfter: 7 })
      expect((error as { isRetryable: boolean }).isRetryable).toBe(true)
      // the registry's own words, without what it was told in confidence
      expect((error as Error).message).toContain("Authorization: Basic ***")
      expect(texts(w, error)).not.toContain(PASSWORD)
      expect(texts(w, error)).not.toContain(basicBytes)
      // one try of each blob at most
      expect(new Set(proxy.uploads().map(({ path }) => path)).size).toBe(proxy.uploads().length)
      expect(await tagsOf(registry.host, repository)).toEqual([])
      proxy.faults = { answer: { match: /PUT .*manifests\/v1/, status: 503, times: 1 } }
      await expect(packageOnce(w, to(), files)).rejects.toMatchObject({ reason: "Unavailable", message: expect.stringContaining("HTTP 503") })
      expect(await tagsOf(registry.host, repository)).toEqual([])
      expect((await packageOnce(w, to(), files)).pushed?.tag).toBe("v1")
    })

    it("one that lost an upload is tried again by the durable layer; one that takes no such size, or nothing at all, is not", async () => {
      const answers = [
        [404, "BLOB_UPLOAD_INVALID", /PUT .*uploads/, "Unavailable", "has lost what was sent"],
        [400, "MANIFEST_BLOB_UNKNOWN", /PUT .*manifests/, "Unavailable", "has lost what was sent"],
        [413, "", /PUT .*uploads/, "InvalidInput", "takes no blob of this size"],
        [405, "UNSUPPORTED", /POST/, "Denied", "cannot be written to"],
        [404, "NAME_UNKNOWN", /POST/, "InvalidInput", "has no repository"],
        [507, "", /PUT .*uploads/, "OutOfSpace", "has no room left"],
        [403, "DENIED", /POST/, "Denied", "does not accept"]
      ] as const
      for (const [status, code, match, reason, says] of answers) {
        proxy.faults = { answer: { match, status, body: code === "" ? "<html>" : JSON.stringify({ errors: [{ code, message: "m" }] }), times: 99 } }
        await expect(packageOnce(w, to(), freshFiles(1000))).rejects.toMatchObject({ reason, message: expect.stringContaining(says) })
      }
      expect(await tagsOf(registry.host, repository)).toEqual([])
    })

    it("a full registry: its disk, not ours", async () => {
      if (!mountsPossible()) return expect(process.env["CI"], "no mount namespaces here: a full disk is not tested").toBeUndefined()
      const small = await startRegistry({ disk: 2 })
      try {
        const options = { push: { to: `${small.host}/team/large:v1` } }
        const files = freshFiles(5_000_000)
        await expect(packageOnce(w, options, files)).rejects.toMatchObject({ reason: "OutOfSpace", message: expect.stringContaining(`The registry ${small.host} has no room left`), remedy: expect.stringContaining("hyper resume") })
        expect(await tagsOf(small.host, "team/large")).toEqual([])
        // the layout on this side stands, so nothing is packaged anew
        expect(JSON.parse(await readFile(join(w.home, "packages", "support-bot", "index.json"), "utf8")).manifests).toHaveLength(1)
      } finally {
        await small.stop()
      }
    })

    it("a wrong digest in the answer: found before any tag moves", async () => {
      const files = freshFiles()
      proxy.faults = { lie: /PUT .*manifests\/sha256/ }
      await expect(packageOnce(w, to(), files)).rejects.toMatchObject({ reason: "Corrupt", message: expect.stringContaining(WRONG), remedy: expect.stringContaining("No tag was set") })
      expect(await tagsOf(registry.host, repository)).toEqual([])
      proxy.faults = { lie: /PUT .*uploads/ }
      await expect(packageOnce(w, to(), freshFiles())).rejects.toMatchObject({ reason: "Corrupt", message: expect.stringContaining("a blob") })
      expect(await tagsOf(registry.host, repository)).toEqual([])
    })

    it("bytes changed on the way: the registry refuses them", async () => {
      proxy.faults = { flipUpload: true }
      await expect(packageOnce(w, to(), freshFiles())).rejects.toMatchObject({ reason: "Corrupt", message: expect.stringContaining("DIGEST_INVALID") })
      expect(await tagsOf(registry.host, repository)).toEqual([])
    })

    it("no registry there, and one that limits", async () => {
      const gone = proxy.host
      proxy.faults = { answer: { match: /HEAD/, status: 429, headers: { "retry-after": "31" }, times: 9 } }
      await expect(packageOnce(w, to(), freshFiles())).rejects.toMatchObject({ reason: "Unavailable", retryAfter: 31, message: expect.stringContaining("limits") })
      await proxy.close()
      await expect(packageOnce(w, { push: { to: `${gone}/${repository}` } }, freshFiles())).rejects.toMatchObject({ reason: "Unavailable", message: expect.stringContaining("ECONNREFUSED"), remedy: expect.stringContaining("hyper resume") })
      proxy = await startProxy(registry.host)
    })
  })

  describe("interrupted", () => {
    it("goes on after a connection that was cut", async () => {
      proxy.faults = { cutUpload: { after: 100_000, times: 2 } }
      const packaged = await packageOnce(w, to(), freshFiles(2_000_000))
      expect(await digestAt(registry.host, repository, "v1")).toBe(packaged.digest)
      const { done, total } = w.reported.at(-1)!
      expect(done).toBe(total)
    })

    it("gives up on one that is cut again and again, and leaves no tag", async () => {
      proxy.faults = { cutUpload: { after: 100_000, times: 999 } }
      await expect(packageOnce(w, to(), freshFiles(2_000_000))).rejects.toMatchObject({ reason: "Unavailable", message: expect.stringMatching(/ECONNRESET|EPIPE/) })
      expect(await tagsOf(registry.host, repository)).toEqual([])
    })

    it("cancelled: the connection ends, no tag, and the next attempt sends what is missing", async () => {
      const files = freshFiles(40_000_000)
      const checkpoint = exportedOf(await w.tree(files))
      let arrived: () => void = () => undefined
      const midway = new Promise<void>((resolve) => (arrived = resolve))
      proxy.faults = { stallUpload: { after: 5_000_000 } }
      proxy.onUpload = (bytes) => void (bytes > 5_000_000 && arrived())
      const fiber = Effect.runFork(w.provided(body.run(w.context(to(), { checkpoint }))))
      await midway
      await Effect.runPromise(Fiber.interrupt(fiber))
      expect(proxy.uploads().some(({ bytes }) => bytes === 40_000_000)).toBe(false)
      expect(await tagsOf(registry.host, repository)).toEqual([])
      proxy.passed.length = 0
      proxy.faults = {}
      const packaged = await w.run(body.run(w.context(to(), { checkpoint })))
      expect(proxy.uploads().filter(({ bytes }) => bytes === 40_000_000)).toHaveLength(1)
      expect(await digestAt(registry.host, repository, "v1")).toBe(packaged.digest)
    })

    it("killed in the middle of a blob: no tag; the next attempt sends only what had not arrived", async () => {
      const files = { ...freshFiles(60_000_000), "a.safetensors": randomBytes(1000) }
      const checkpoint = exportedOf(await w.tree(files))
      const small = Object.keys(files).length // all files but one, and the config
      await writeFile(join(w.home, "job.json"), JSON.stringify({ options: to(), checkpoint }))
      const child = spawn(process.execPath, [join(import.meta.dirname, "pushProgram.ts"), w.home], { env: { ...process.env, REGISTRY: secretValue }, stdio: "ignore" })
      const ended = new Promise((resolve) => child.on("close", resolve))
      // the small ones are there, the large one is half-way
      proxy.faults = { stallUpload: { after: 20_000_000 } }
      for (const midway = () => proxy.uploads().some(({ bytes }) => bytes > 20_000_000) && proxy.uploads().filter(({ status }) => status === 201).length === small; !midway() && child.exitCode === null; ) await new Promise((resolve) => setTimeout(resolve, 10))
      child.kill("SIGKILL")
      await ended
      expect(child.signalCode).toBe("SIGKILL")
      expect(proxy.uploads().some(({ bytes }) => bytes === 60_000_000)).toBe(false)
      expect(await tagsOf(registry.host, repository)).toEqual([])
      // what the check above is worth: a push that tagged too early would be seen
      const config = await readFile(blobPath(join(w.home, "packages", "support-bot"), JSON.parse(await readFile(join(w.home, "packages", "support-bot", "index.json"), "utf8")).manifests[0].digest), "utf8")
      const early = JSON.stringify({ ...JSON.parse(config), layers: [] })
      const planted = await fetch(`http://${registry.host}/v2/${repository}/manifests/v1`, { method: "PUT", headers: { ...basic(), "content-type": MANIFEST_MEDIA_TYPE }, body: early })
      expect(planted.status).toBe(201)
      expect(await tagsOf(registry.host, repository)).toEqual(["v1"])
      proxy.passed.length = 0
      proxy.faults = {}
      const packaged = await w.run(body.run(w.context(to(), { checkpoint })))
      expect(proxy.uploads().map(({ bytes }) => bytes)).toEqual([60_000_000])
      expect(await digestAt(registry.host, repository, "v1")).toBe(packaged.digest)
    })
  })
})
