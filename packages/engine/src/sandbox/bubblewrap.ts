/**
 * The command line of a bubblewrap sandbox: new mount, process, network, IPC and host-name namespaces; a root that holds only what is
 * bound, read-only; a private /tmp; no capability, no new privilege, nobody's uid.
 *
 * Started by root, bubblewrap makes the mounts as root (so that what is bound may lie below a 0700 directory) and the identity is
 * dropped inside, for real: with `--uid` alone the process would still be root to the kernel (field notes). Started by anyone else,
 * a user namespace does it, in which no further one can be made.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Confinement } from "../capability/Sandbox.ts"

/** nobody. Never the database server's uid. */
export const SANDBOX_UID = 65534

/** Absolute paths of the programs that a sandbox is made with. */
export interface SandboxTools {
  readonly bwrap: string
  readonly setpriv: string
  readonly prlimit: string
  readonly env: string
  readonly sh: string
}

/** `directory` holds passwd, group, hosts, nsswitch.conf and, where the architecture has one, seccomp.bpf (SandboxFiles.ts). */
export interface SandboxFixtures {
  readonly directory: string
  readonly filter: string | undefined
}

/** Bounds a runaway fork, with room for the thread pools of a large machine. */
const PROCESSES = 8192

interface Mount {
  readonly path: string
  readonly args: ReadonlyArray<string>
}

const below = (path: string, parent: string): boolean => path === parent || path.startsWith(parent.endsWith("/") ? parent : `${parent}/`)

/** What the root holds so far: directories made empty, and trees that came whole from the host. */
interface Held {
  readonly made: Set<string>
  readonly bound: Array<string>
}

/** Makes the directories down to `path` that are not there yet; bubblewrap itself would make them 0700, which the dropped identity cannot pass. */
const directories = (path: string, held: Held): ReadonlyArray<string> => {
  const missing: Array<string> = []
  for (let here = path; here !== "/" && !held.made.has(here) && !held.bound.some((other) => below(here, other)); here = dirname(here)) missing.unshift(here)
  return missing.flatMap((directory) => {
    held.made.add(directory)
    return ["--perms", "0755", "--dir", directory]
  })
}

/** The system's own programs and libraries: links where the distribution has merged them into /usr. */
const system = (held: Held): ReadonlyArray<string> => {
  const args = ["--ro-bind", "/usr", "/usr", ...directories("/sys/devices", held)]
  for (const path of ["/bin", "/sbin", "/lib", "/lib32", "/lib64"]) {
    if (!existsSync(path)) continue
    args.push(...(lstatSync(path).isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path]))
  }
  for (const path of ["/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system"]) args.push("--ro-bind-try", path, path)
  return args
}

/** NVIDIA's device nodes, where the machine has them. */
const devices = (): ReadonlyArray<string> => {
  const nodes = existsSync("/dev/nvidiactl") ? readdirSync("/dev").filter((name) => name.startsWith("nvidia")).map((name) => `/dev/${name}`) : []
  return nodes.length === 0 ? [] : [...nodes.flatMap((node) => ["--dev-bind", node, node]), "--ro-bind-try", "/sys/bus/pci", "/sys/bus/pci", "--ro-bind-try", "/sys/devices", "/sys/devices", "--ro-bind-try", "/sys/module", "/sys/module"]
}

export const bubblewrapCommand = (tools: SandboxTools, fixtures: SandboxFixtures, confinement: Confinement, root: boolean): readonly [string, ...Array<string>] => {
  const mounts: ReadonlyArray<Mount> = [
    ...confinement.readOnly.map((path) => ({ path, args: ["--ro-bind", path, path] })),
    ...confinement.writable.map((path) => ({ path, args: ["--bind", path, path] })),
    ...confinement.sockets.map((path) => ({ path, args: ["--bind", path, path] }))
    // outer ones first: a writable directory may lie inside a read-only one
  ].toSorted((a, b) => a.path.length - b.path.length)
  const held: Held = { made: new Set(["/tmp", "/dev", "/dev/shm"]), bound: ["/usr", "/proc"] }
  const etc = [
    ...directories("/etc", held),
    ...["passwd", "group", "hosts", "nsswitch.conf"].flatMap((name) => ["--ro-bind", join(fixtures.directory, name), `/etc/${name}`])
  ]
  const binds = mounts.flatMap(({ args, path }) => {
    const parents = directories(dirname(path), held)
    if (statSync(path).isDirectory()) held.bound.push(path)
    return [...parents, ...args]
  })
  const cwd = directories(confinement.cwd, held)
  const identity = root
    ? [tools.setpriv, "--reuid", String(SANDBOX_UID), "--regid", String(SANDBOX_UID), "--clear-groups", "--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", "--"]
    : []
  const bwrap = [
    tools.bwrap,
    ...(root ? [] : ["--unshare-user", "--disable-userns", "--uid", String(SANDBOX_UID), "--gid", String(SANDBOX_UID)]),
    "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try", "--die-with-parent", "--hostname", "sandbox",
    ...(fixtures.filter === undefined ? [] : ["--seccomp", "9"]),
    ...etc,
    ...system(held),
    "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--perms", "1777", "--tmpfs", "/tmp",
    ...devices(),
    ...binds,
    ...cwd,
    "--remount-ro", "/", "--chdir", confinement.cwd, "--",
    tools.prlimit, "--core=0", `--nproc=${PROCESSES}`, "--",
    ...identity,
    tools.env, "--default-signal=TERM,INT,HUP", "--", ...confinement.command
  ]
  // bubblewrap itself does not act on SIGTERM, or it would take the command with it before the command could; only SIGKILL ends it.
  const open = fixtures.filter === undefined ? "" : `exec 9<"$0"; `
  return [tools.sh, "-c", `trap "" TERM INT HUP; ${open}exec "$@"`, fixtures.filter ?? "sandbox", ...bwrap]
}
