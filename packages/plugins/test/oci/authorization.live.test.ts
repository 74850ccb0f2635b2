/** Who is let in, and what is said to whom: tokens that Debian's docker-registry checks, certificates, redirects, Docker's configuration. */
import { execFile, execFileSync } from "node:child_process"
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type RequestListener } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { Authorization } from "../../src/oci/Authorization.ts"
import { dockerCredentials, hasDockerCredentials } from "../../src/oci/DockerConfig.ts"
import { Registry } from "../../src/oci/Registry.ts"
import { body, credentials, freshFiles, packageOnce, secretValue, texts } from "./pushing.ts"
import { PASSWORD, registryPresent, type RegistryServer, startRegistry, USER } from "./registryServer.ts"
import { type Certificate, ISSUER, makeCertificate, REFRESH, SERVICE, startTokenServer, type TokenServer } from "./tokenServer.ts"
import { exportedOf, world, type World } from "./world.ts"

const opensslPresent = (() => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()
if (!opensslPresent && process.env["CI"] === "true") throw new Error("openssl is not installed: apt-get install openssl")

let directory = ""
let w: World
beforeEach(async () => {
  w = await world({ REGISTRY: secretValue })
})
afterEach(() => w.dispose())
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "authorization-"))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

const serve = async (listener: RequestListener): Promise<{ readonly host: string; readonly close: () => Promise<void> }> => {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

describe.skipIf(!registryPresent || !opensslPresent)("tokens", () => {
  let tokens: TokenServer
  let registry: RegistryServer
  beforeAll(async () => {
    const certificate: Certificate = makeCertificate(directory)
    tokens = await startTokenServer(certificate)
    registry = await startRegistry({ auth: { realm: tokens.realm, service: SERVICE, issuer: ISSUER, certificate: certificate.certificate } })
  })
  afterAll(async () => {
    await tokens?.close()
    await registry?.stop()
  })
  beforeEach(() => {
    tokens.requests.length = 0
    tokens.grants = "all"
    tokens.expiresIn = 300
  })
  const to = (repository: string) => ({ push: { to: `${registry.host}/${repository}`, credentials } })

  it("asks for one, once, for pulling and pushing one repository", async () => {
    const packaged = await packageOnce(w, to("team/tokens"), freshFiles())
    expect(packaged.pushed?.tag).toBe("latest")
    expect(tokens.requests.map(({ scopes }) => scopes)).toEqual([["repository:team/tokens:pull,push"]])
    for (const secret of [PASSWORD, ...tokens.tokens]) expect(texts(w)).not.toContain(secret)
  })

  it("asks again before one runs out", async () => {
    tokens.expiresIn = 11 // usable for a second
    const client = new Registry(`http://${registry.host}`, "team/tokens", new Authorization({ username: USER, password: PASSWORD }, { plainHttp: true, insecure: false }), "pull")
    const signal = new AbortController().signal
    // a clock that stands still, so that a busy machine changes nothing
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() })
    try {
      await client.resolve("latest", signal)
      await client.resolve("latest", signal)
      expect(tokens.requests).toHaveLength(1)
      vi.setSystemTime(Date.now() + 1100)
      await client.resolve("latest", signal)
      expect(tokens.requests).toHaveLength(2)
    } finally {
      vi.useRealTimers()
    }
  })

  it("is refused with wrong credentials, and where the token allows too little", async () => {
    const wrong = await world({ REGISTRY: `${USER}:not-the-password` })
    const denied = await packageOnce(wrong, to("team/denied"), freshFiles()).catch((error: unknown) => error)
    expect(denied).toMatchObject({ reason: "Denied", message: expect.stringContaining("does not accept these credentials") })
    expect(texts(wrong, denied)).not.toMatch(/not-the-password|Basic [A-Za-z0-9]/)
    await wrong.dispose()
    tokens.grants = "pull"
    const little = await packageOnce(w, to("team/denied"), freshFiles()).catch((error: unknown) => error)
    expect(little).toMatchObject({ reason: "Denied", remedy: expect.stringContaining("write to") })
    for (const secret of [PASSWORD, ...tokens.tokens]) expect(texts(w, little)).not.toContain(secret)
  })

  it("gives an identity token of Docker's configuration to the token server, in the body", async () => {
    await writeFile(join(directory, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from("00000000-0000-0000-0000-000000000000:").toString("base64"), identitytoken: REFRESH } } }))
    process.env["DOCKER_CONFIG"] = directory
    try {
      const options = { push: { to: `${registry.host}/team/identity`, credentials: "docker" as const } }
      expect((await packageOnce(w, options, freshFiles())).pushed?.tag).toBe("latest")
      expect(tokens.requests.every(({ authorization, body, method }) => method === "POST" && authorization === undefined && body.includes(REFRESH))).toBe(true)
      // another tenant is not this machine's user
      const context = { ...w.context(options, { checkpoint: exportedOf(await w.tree(freshFiles())) }), tenant: "somebody" }
      await expect(w.run(body.run(context))).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("tenant somebody") })
    } finally {
      delete process.env["DOCKER_CONFIG"]
    }
  })

  it("never goes to a token server over an open line", async () => {
    const asked: Array<string | undefined> = []
    const fake = await serve((request, response) => {
      asked.push(request.headers.authorization)
      response.writeHead(401, { "www-authenticate": `Bearer realm="http://auth.example.com/token",service="x"` }).end()
    })
    try {
      await expect(packageOnce(w, { push: { to: `${fake.host}/a/b`, credentials } }, freshFiles())).rejects.toMatchObject({ reason: "Denied", message: expect.stringContaining("not encrypted (http://auth.example.com)") })
      expect(asked.every((header) => header === undefined)).toBe(true)
    } finally {
      await fake.close()
    }
  })
})

describe.skipIf(!registryPresent || !opensslPresent)("certificates", () => {
  it("are checked: a registry with one of its own is refused, and taken when its authority is named", async () => {
    const certificate = makeCertificate(directory)
    const registry = await startRegistry({ tls: certificate })
    try {
      const options = { push: { to: `${registry.host}/team/secure`, insecure: false } }
      await writeFile(join(w.home, "job.json"), JSON.stringify({ options, checkpoint: exportedOf(await w.tree(freshFiles())) }))
      const push = (environment: Record<string, string>) => promisify(execFile)(process.execPath, [join(import.meta.dirname, "pushProgram.ts"), w.home], { env: { ...process.env, ...environment } })
      const refused = await push({}).catch((error: { stderr: string }) => error.stderr)
      expect(refused).toContain("does not trust (DEPTH_ZERO_SELF_SIGNED_CERT)")
      expect(refused).toContain("NODE_EXTRA_CA_CERTS")
      await push({ NODE_EXTRA_CA_CERTS: certificate.certificate })
      // one behind a proxy that does not know its own address would have the model sent in the open
      const misled = createSecureServer({ cert: await readFile(certificate.certificate), key: await readFile(certificate.key) }, (request, response) =>
        request.method === "POST" ? void response.writeHead(202, { location: `http://${request.headers.host}/upload` }).end() : void response.writeHead(404).end()
      )
      await new Promise<void>((resolve) => misled.listen(0, "127.0.0.1", resolve))
      await writeFile(join(w.home, "job.json"), JSON.stringify({ options: { push: { to: `127.0.0.1:${(misled.address() as AddressInfo).port}/a/b`, insecure: false } }, checkpoint: exportedOf(await w.tree(freshFiles())) }))
      const open = await push({ NODE_EXTRA_CA_CERTS: certificate.certificate }).catch((error: { stderr: string }) => error.stderr)
      misled.closeAllConnections()
      misled.close()
      expect(open).toContain("is spoken to by https and sends uploads to http://")
      expect(open).toContain("X-Forwarded-Proto")
      // and plain http is not tried in secret, nor TLS where there is none
      await expect(packageOnce(w, { push: { to: `${registry.host}/team/secure` } }, freshFiles())).rejects.toMatchObject({ message: expect.stringContaining("HTTP 400") })
      const plain = await startRegistry()
      try {
        await expect(packageOnce(w, { push: { to: `${plain.host}/team/plain`, insecure: false } }, freshFiles())).rejects.toMatchObject({ reason: "InvalidInput", message: expect.stringContaining("does not speak TLS"), remedy: expect.stringContaining("insecure: true") })
      } finally {
        await plain.stop()
      }
    } finally {
      await registry.stop()
    }
  })
})

describe("redirects", () => {
  it("lead to storage without the credentials", async () => {
    const seen: Array<string | undefined> = []
    const storage = await serve((request, response) => {
      seen.push(request.headers.authorization)
      response.end("bytes")
    })
    const front = await serve((request, response) => {
      if (request.headers.authorization === undefined) return void response.writeHead(401, { "www-authenticate": `Basic realm="x"` }).end()
      response.writeHead(307, { location: `http://${storage.host}/blob` }).end()
    })
    try {
      const registry = new Registry(`http://${front.host}`, "a/b", new Authorization({ username: USER, password: PASSWORD }, { plainHttp: true, insecure: false }), "pull")
      const answer = await registry.openBlob(`sha256:${"0".repeat(64)}`, 0, new AbortController().signal)
      let text = ""
      for await (const chunk of answer.body) text += chunk
      expect(text).toBe("bytes")
      expect(seen).toEqual([undefined])
    } finally {
      await front.close()
      await storage.close()
    }
  })
})

describe("Docker's configuration", () => {
  const before = { config: process.env["DOCKER_CONFIG"], path: process.env["PATH"] }
  let at = ""
  beforeEach(async () => {
    at = await mkdtemp(join(directory, "docker-"))
    process.env["DOCKER_CONFIG"] = at
  })
  afterEach(() => {
    if (before.config === undefined) delete process.env["DOCKER_CONFIG"]
    else process.env["DOCKER_CONFIG"] = before.config
    process.env["PATH"] = before.path
  })
  const config = (content: unknown) => writeFile(join(at, "config.json"), typeof content === "string" ? content : JSON.stringify(content))

  it("has entries by host, by address, and for the hub under its other names", async () => {
    const auth = (text: string) => ({ auth: Buffer.from(text).toString("base64") })
    await config({ auths: { "https://index.docker.io/v1/": auth("hub:h"), "r.example.com:5000": auth("me:a:b"), "https://old.example.com/v2/": auth("old:o") } })
    expect(await dockerCredentials("docker.io")).toEqual({ username: "hub", password: "h" })
    expect(await dockerCredentials("r.example.com:5000")).toEqual({ username: "me", password: "a:b" })
    expect(await dockerCredentials("old.example.com")).toEqual({ username: "old", password: "o" })
    for (const host of ["r.example.com", "example.com:5000", "docker.io.example.com"]) await expect(dockerCredentials(host)).rejects.toMatchObject({ message: expect.stringContaining("no credentials"), remedy: expect.stringContaining("docker login") })
    expect(await hasDockerCredentials("docker.io")).toBeUndefined()
    expect(await hasDockerCredentials("r.example.com")).toMatchObject({ message: expect.stringContaining("no credentials") })
  })

  it("names a helper, which is asked over its input and never by an argument", async () => {
    const bin = join(at, "bin")
    await mkdir(bin)
    const log = join(at, "arguments")
    await writeFile(join(bin, "docker-credential-test"), `#!/bin/sh\necho "$@" >> ${log}\nread host\n[ "$host" = r.example.com ] || exit 1\necho '{"ServerURL":"r.example.com","Username":"me","Secret":"s"}'\n`)
    await chmod(join(bin, "docker-credential-test"), 0o755)
    process.env["PATH"] = `${bin}${delimiter}${before.path}`
    await config({ credHelpers: { "r.example.com": "test", "other.example.com": "test", "evil.example.com": "../x" }, auths: { "r.example.com": {} } })
    expect(await dockerCredentials("r.example.com")).toEqual({ username: "me", password: "s" })
    await expect(dockerCredentials("other.example.com")).rejects.toMatchObject({ message: expect.stringContaining("docker-credential-test has no credentials") })
    await expect(dockerCredentials("evil.example.com")).rejects.toMatchObject({ message: expect.stringContaining("has a name that is none") })
    expect((await promisify(execFile)("cat", [log])).stdout).toBe("get\nget\n")
  })

  it("is not there, or is no JSON: said without what it holds", async () => {
    await expect(dockerCredentials("r.example.com")).rejects.toMatchObject({ message: expect.stringContaining("does not exist") })
    await config(`{"auths": {"r.example.com": {"auth": "c2VjcmV0"`)
    const fault = await dockerCredentials("r.example.com").catch((error: unknown) => error as Error)
    expect(fault).toMatchObject({ message: expect.stringContaining("not a JSON object") })
    expect(texts(w, fault)).not.toContain("c2VjcmV0")
  })
})
