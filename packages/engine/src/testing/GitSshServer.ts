/** A real sshd on loopback for tests: its own host key, one authorised key, and nothing but git behind it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { connect, createServer, type AddressInfo } from "node:net"
import { userInfo } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].find((path) => existsSync(path))

export const hasSshd = (): boolean => sshd !== undefined

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })

const makeKey = (path: string): void => {
  const { status, stderr } = spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], { encoding: "utf8" })
  if (status !== 0) throw new Error(`ssh-keygen: ${stderr}`)
}

export class GitSshServer {
  readonly #child: ChildProcess
  readonly port: number
  /** private key that the server accepts, and one that it does not */
  readonly key: string
  readonly otherKey: string
  readonly knownHosts: string
  #log = ""

  private constructor(child: ChildProcess, port: number, directory: string) {
    this.#child = child
    this.port = port
    this.key = join(directory, "key")
    this.otherKey = join(directory, "other")
    this.knownHosts = join(directory, "known_hosts")
    child.stderr?.on("data", (chunk: Buffer) => { this.#log += chunk.toString() })
  }

  /** `directory`: for keys and configuration; made. */
  static async start(directory: string): Promise<GitSshServer> {
    if (sshd === undefined) throw new Error("no sshd here: apt-get install openssh-server")
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    for (const name of ["host", "key", "other"]) makeKey(join(directory, name))
    writeFileSync(join(directory, "git.sh"), `#!/bin/sh\nexec git-shell -c "$SSH_ORIGINAL_COMMAND"\n`)
    chmodSync(join(directory, "git.sh"), 0o755)
    writeFileSync(join(directory, "authorized_keys"), `restrict,command="${join(directory, "git.sh")}" ${readFileSync(join(directory, "key.pub"), "utf8")}`, { mode: 0o600 })
    const port = await freePort()
    writeFileSync(join(directory, "known_hosts"), `[127.0.0.1]:${port} ${readFileSync(join(directory, "host.pub"), "utf8")}`)
    writeFileSync(
      join(directory, "sshd_config"),
      `ListenAddress 127.0.0.1
Port ${port}
HostKey ${join(directory, "host")}
PidFile none
AuthorizedKeysFile ${join(directory, "authorized_keys")}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
LogLevel VERBOSE
`
    )
    // Debian's sshd wants its directory; nobody else makes it where no sshd runs as a service
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 })
    const server = new GitSshServer(spawn(sshd, ["-D", "-e", "-f", join(directory, "sshd_config")], { stdio: ["ignore", "ignore", "pipe"] }), port, directory)
    for (let tries = 0; tries < 200; tries++) {
      if (server.#child.exitCode !== null) break
      const open = await new Promise<boolean>((resolve) => {
        const probe = connect(port, "127.0.0.1", () => { probe.destroy(); resolve(true) }).on("error", () => resolve(false))
      })
      if (open) return server
      await sleep(25)
    }
    server.#child.kill("SIGKILL")
    throw new Error(`sshd did not start: ${server.#log}`)
  }

  url(path: string): string {
    return `ssh://${userInfo().username}@127.0.0.1:${this.port}${path}`
  }

  log(): string {
    return this.#log
  }

  async close(): Promise<void> {
    this.#child.kill("SIGTERM")
    if (this.#child.exitCode === null && this.#child.signalCode === null) await new Promise((resolve) => this.#child.once("exit", resolve))
  }
}
