/** Debian's docker-registry on loopback: a real registry. It ends with `stop`, also one whose disk is a small tmpfs in a mount namespace of its own. */
import { execFileSync, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

const BINARY = "/usr/bin/docker-registry"
export const registryPresent = existsSync(BINARY)
if (!registryPresent && process.env["CI"] === "true") throw new Error("docker-registry is not installed: apt-get install docker-registry")
if (!registryPresent) console.warn("skipped: docker-registry is not installed (apt-get install docker-registry)")

/** With the bcrypt line of it that docker-registry wants. */
export const USER = "hyper"
export const PASSWORD = "hyper-test-password"
const HTPASSWD = `${USER}:$2b$05$abcdefghijklmnopqrstuuTguujc6ufvHSuDWmPsft.y43tY3/yLu\n`

export interface RegistrySetup {
  readonly auth?: "htpasswd" | { readonly realm: string; readonly service: string; readonly issuer: string; readonly certificate: string }
  /** megabytes that its disk has; absent: this machine's */
  readonly disk?: number
  /** PEM files */
  readonly tls?: { readonly certificate: string; readonly key: string }
}

export interface RegistryServer {
  /** 127.0.0.1:port */
  readonly host: string
  readonly root: string
  readonly stop: () => Promise<void>
}

/** Whether this user may make mount namespaces: root may, others where the kernel lets them. */
export const mountsPossible = (): boolean => {
  try {
    execFileSync("unshare", [...asRoot, "-m", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}
const asRoot = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]

const authLines = (auth: RegistrySetup["auth"], htpasswd: string): string =>
  auth === undefined ? "" : auth === "htpasswd" ? `auth: {htpasswd: {realm: test, path: ${htpasswd}}}\n` : `auth: {token: {realm: "${auth.realm}", service: "${auth.service}", issuer: "${auth.issuer}", rootcertbundle: ${auth.certificate}}}\n`

export const startRegistry = async ({ auth, disk, tls }: RegistrySetup = {}): Promise<RegistryServer> => {
  const directory = await mkdtemp(join(tmpdir(), "registry-"))
  const [root, config, htpasswd] = ["data", "config.yml", "htpasswd"].map((name) => join(directory, name)) as [string, string, string]
  await mkdir(root)
  await writeFile(htpasswd, HTPASSWD)
  const secure = tls === undefined ? "" : `, tls: {certificate: ${tls.certificate}, key: ${tls.key}}`
  await writeFile(config, `version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: ${root}}}\n${authLines(auth, htpasswd)}http: {addr: "127.0.0.1:0", secret: test${secure}}\n`)
  const child = disk === undefined
    ? spawn(BINARY, ["serve", config], { stdio: ["ignore", "pipe", "pipe"] })
    : spawn("unshare", [...asRoot, "-m", "sh", "-c", `mount -t tmpfs -o size=${disk}m none "$0" && exec ${BINARY} serve "$1"`, root, config], { stdio: ["ignore", "pipe", "pipe"] })
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL")
    await ended
    await rm(directory, { recursive: true, force: true })
  }
  const host = await new Promise<string>((resolve, reject) => {
    let log = ""
    const look = (chunk: Buffer): void => {
      log += chunk.toString("utf8")
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(log)?.[1]
      if (port !== undefined) resolve(`127.0.0.1:${port}`)
    }
    child.stdout.on("data", look)
    child.stderr.on("data", look)
    void ended.then(() => reject(new Error(`docker-registry ended: ${log.slice(-2000)}`)))
  }).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  return { host, root, stop }
}
