/**
 * Credentials that `docker login` left: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, with its credential helpers
 * (docker/docker-credential-helpers: the host on standard input, `{ Username, Secret }` on standard output).
 */
import { spawn } from "node:child_process"
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"
import type { Credentials } from "./Credentials.ts"

export class DockerConfigFault extends Error {
  readonly remedy: string
  constructor(message: string, remedy: string) {
    super(message)
    this.remedy = remedy
  }
}

interface Config {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>
  readonly credsStore?: string
  readonly credHelpers?: Readonly<Record<string, string>>
}

const HELPER_MILLIS = 30_000
const HUB = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"])

/** Keys are hosts, or URLs as older versions wrote them; Docker's own hub has three names. */
const hostOf = (key: string): string => {
  const host = key.replace(/^https?:\/\//, "").split("/")[0]!.toLowerCase()
  return HUB.has(host) ? "docker.io" : host
}

const login = (host: string): string => `Log in first: docker login ${host}`

const readConfig = async (): Promise<{ readonly path: string; readonly config: Config }> => {
  const path = join(process.env["DOCKER_CONFIG"] || join(homedir(), ".docker"), "config.json")
  let text: string
  try {
    text = await readFile(path, "utf8")
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown failure"
    throw new DockerConfigFault(`Docker's configuration ${path} ${code === "ENOENT" ? "does not exist" : `cannot be read (${code})`}.`, 'Log in with docker login, or pass credentials: secret("NAME") with user:password.')
  }
  try {
    const config: unknown = JSON.parse(text)
    if (typeof config === "object" && config !== null) return { path, config }
  } catch {
    // said below, without the text: it holds passwords
  }
  throw new DockerConfigFault(`Docker's configuration ${path} is not a JSON object.`, "Correct it, or delete it and log in again.")
}

const helperOf = (config: Config, host: string): string | undefined => Object.entries(config.credHelpers ?? {}).find(([key]) => hostOf(key) === hostOf(host))?.[1] ?? config.credsStore

const entryOf = (config: Config, host: string) => Object.entries(config.auths ?? {}).find(([key, { auth, identitytoken }]) => hostOf(key) === hostOf(host) && Boolean(auth ?? identitytoken))?.[1]

/** Whether there is an entry or a helper, which is not started: for planning. */
export const hasDockerCredentials = async (host: string): Promise<DockerConfigFault | undefined> => {
  try {
    const { config, path } = await readConfig()
    return helperOf(config, host) !== undefined || entryOf(config, host) !== undefined ? undefined : new DockerConfigFault(`Docker's configuration ${path} has no credentials for ${host}.`, login(host))
  } catch (fault) {
    return fault as DockerConfigFault
  }
}

const ask = (helper: string, host: string): Promise<Credentials> =>
  new Promise((resolve, reject) => {
    const fault = (what: string) => new DockerConfigFault(`Docker's credential helper docker-credential-${helper} ${what} for ${host}.`, login(host))
    if (!/^[\w.-]+$/.test(helper)) return reject(fault("has a name that is none"))
    const child = spawn(`docker-credential-${helper}`, ["get"], { stdio: ["pipe", "pipe", "ignore"], timeout: HELPER_MILLIS })
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (text += chunk))
    child.on("error", () => reject(fault("cannot be started")))
    child.on("close", () => {
      try {
        const { Secret: secret, Username: username } = JSON.parse(text) as { readonly Secret: unknown; readonly Username: unknown }
        if (typeof secret !== "string" || typeof username !== "string") throw new Error("no credentials")
        resolve(username === "<token>" ? { username, password: "", identityToken: secret } : { username, password: secret })
      } catch {
        reject(fault("has no credentials")) // its own words are kept back: some of them hold what they were asked for
      }
    })
    child.stdin.on("error", () => undefined)
    child.stdin.end(hostOf(host) === "docker.io" ? "https://index.docker.io/v1/" : host)
  })

/** Rejects with DockerConfigFault. */
export const dockerCredentials = async (host: string): Promise<Credentials> => {
  const { config, path } = await readConfig()
  const helper = helperOf(config, host)
  if (helper !== undefined) return ask(helper, host)
  const entry = entryOf(config, host)
  const [, username, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(entry?.auth ?? "", "base64").toString("utf8")) ?? []
  if (entry?.identitytoken !== undefined && entry.identitytoken !== "") return { username: username ?? "<token>", password: password ?? "", identityToken: entry.identitytoken }
  if (username === undefined || password === undefined) throw new DockerConfigFault(`Docker's configuration ${path} has no credentials for ${host}.`, login(host))
  return { username, password }
}
