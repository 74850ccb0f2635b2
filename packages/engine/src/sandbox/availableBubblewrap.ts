/** Whether bubblewrap confines here, found by running it once. */
import { execFile } from "node:child_process"
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { bubblewrapCommand, SANDBOX_UID, type SandboxTools } from "./bubblewrap.ts"
import { sandboxFiles } from "./SandboxFiles.ts"

export type Bubblewrap = { readonly tools: SandboxTools; readonly reason?: never } | { readonly tools?: never; readonly reason: string }

const find = (program: string): string | undefined =>
  [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/bin", "/usr/sbin"].map((directory) => join(directory, program)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return path.startsWith("/")
    } catch {
      return false
    }
  })

/** True inside: nobody's uid, no capability, loopback as the only interface. */
const CHECK = `[ "$(id -u)" = ${SANDBOX_UID} ] && grep -q "^CapEff:.0000000000000000$" /proc/self/status && [ "$(grep -c : /proc/net/dev)" = 1 ] && [ ! -e /etc/shadow ] && echo confined`

const tryOnce = async (): Promise<Bubblewrap> => {
  if (process.platform !== "linux") return { reason: "bubblewrap: Linux only" }
  const bwrap = find("bwrap")
  if (bwrap === undefined) return { reason: "bubblewrap: not installed" }
  const [setpriv, prlimit, env, sh] = [find("setpriv"), find("prlimit"), find("env"), find("sh")]
  if (setpriv === undefined || prlimit === undefined || env === undefined || sh === undefined) return { reason: "bubblewrap: setpriv and prlimit (util-linux), env (coreutils) and sh must be there too" }
  const tools = { bwrap, setpriv, prlimit, env, sh }
  const directory = mkdtempSync(join(tmpdir(), "hyper-sandbox-"))
  try {
    const [program, ...args] = bubblewrapCommand(tools, sandboxFiles(directory), { command: [sh, "-c", CHECK], readOnly: [], writable: [], sockets: [], cwd: "/tmp" }, process.getuid?.() === 0)
    const said = await new Promise<{ readonly ok: boolean; readonly stderr: string }>((resolve) => {
      execFile(program, args, { timeout: 20_000, env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" }, killSignal: "SIGKILL" }, (error, stdout, stderr) => resolve({ ok: error === null && stdout.trim() === "confined", stderr: stderr.trim() || (error?.message ?? "the check inside it failed") }))
    })
    return said.ok ? { tools } : { reason: `bubblewrap: ${said.stderr.split("\n").slice(-2).join(" ").slice(0, 300)}` }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

let found: Promise<Bubblewrap> | undefined

/** What works is remembered for the life of this process; what does not is tried again, as it may have been installed since. */
export const availableBubblewrap = (): Promise<Bubblewrap> => {
  found ??= tryOnce().then((answer) => {
    if (answer.tools === undefined) found = undefined
    return answer
  })
  return found
}
