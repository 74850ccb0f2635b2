/**
 * A confinement as a container (design.md, section 7): no network, no capability, no new privilege, a read-only root, limits on processes
 * and memory, nobody's uid, and what is written outside the job's own directories in memory only. Its root is an image of ours with
 * nothing in it; the system's programs and libraries are the host's, mounted read-only, so that the interpreter is the very one that
 * bubblewrap would run.
 */
import { createHash } from "node:crypto"
import { existsSync, lstatSync, readdirSync, readlinkSync } from "node:fs"
import { totalmem } from "node:os"
import type { ContainerMount, ContainerSpec, ContextEntry } from "../capability/Containers.ts"
import type { Confinement } from "../capability/Sandbox.ts"
import { SANDBOX_UID } from "./bubblewrap.ts"

const PROCESSES = 8192
/** of the machine's memory: a job that wants all of it is ended before the machine is */
const MEMORY_SHARE = 0.9

/** Where the container finds the pipe that its owner holds open. */
export const LEASH = "/.leash"

/**
 * The first process in it. It starts the command when its owner holds the leash (opening a pipe waits for the other side), hands it standard
 * input and SIGTERM, and ends everything as soon as the owner is gone, whatever ended the owner, and also when the engine is gone.
 */
const FIRST_PROCESS = `exec 3<&0 8<"$0" 0</dev/null
(exec 3<&-; cat <&8 >/dev/null; kill -KILL -1) &
env --default-signal=TERM,INT,HUP,QUIT -- "$@" <&3 3<&- 8<&- &
child=$!
exec 3<&- 8<&-
trap 'kill -TERM $child 2>/dev/null' TERM INT HUP
while :; do
  wait $child
  status=$?
  kill -0 $child 2>/dev/null || exit $status
done`

const merged = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"]

/** The image, for this machine's layout of /bin and /lib. Its name changes with its content. */
export const sandboxImage = (): { readonly reference: string; readonly dockerfile: string; readonly context: ReadonlyArray<ContextEntry> } => {
  const links = merged.filter((path) => existsSync(path) && lstatSync(path).isSymbolicLink()).map((path) => ({ path: `root${path}`, link: readlinkSync(path) }))
  const files = [
    { path: "root/etc/passwd", content: `hyper:x:${SANDBOX_UID}:${SANDBOX_UID}::/tmp:/usr/sbin/nologin\n` },
    { path: "root/etc/group", content: `hyper:x:${SANDBOX_UID}:\n` },
    { path: "root/etc/nsswitch.conf", content: "passwd: files\ngroup: files\nhosts: files\n" }
  ]
  const dockerfile = "FROM scratch\nCOPY root/ /\n"
  // where it is mounted over: the mode is taken from here
  const context = [...files, ...links, { path: "root/tmp", mode: 0o1777 }]
  return { reference: `hyper-sandbox:${createHash("sha256").update(JSON.stringify([dockerfile, context])).digest("hex").slice(0, 16)}`, dockerfile, context }
}

const system = (): ReadonlyArray<ContainerMount> =>
  ["/usr", ...merged, "/etc/ld.so.cache", "/etc/alternatives"].flatMap((path) => (existsSync(path) && !lstatSync(path).isSymbolicLink() ? [{ source: path, target: path, readOnly: true }] : []))

const nvidia = (): ReadonlyArray<string> => (existsSync("/dev/nvidiactl") ? readdirSync("/dev").filter((name) => /^nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)$/.test(name)).map((name) => `/dev/${name}`) : [])

export interface ContainerIdentity {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
}

/** `hosts`: the file for /etc/hosts, in place of the one that the engine would write. `leash`: see FIRST_PROCESS; a check needs none. */
export const containerSpec = (confinement: Confinement, identity: ContainerIdentity, hosts: string, leash?: string): ContainerSpec => {
  const memory = confinement.memory ?? Math.floor(totalmem() * MEMORY_SHARE)
  const inMemory = Math.floor(memory / 2)
  const bind = (readOnly: boolean) => (path: string): ContainerMount => ({ source: path, target: path, readOnly })
  const uid = process.getuid?.() ?? 0
  return {
    ...identity,
    image: sandboxImage().reference,
    entrypoint: leash === undefined ? [] : ["/bin/sh", "-c", FIRST_PROCESS, LEASH],
    command: confinement.command,
    env: { ...identity.env, PATH: identity.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" },
    workingDirectory: confinement.cwd,
    // not root's, and able to open what belongs to whoever asks: as root that is given away first (SystemSandbox.ts)
    user: uid === 0 ? `${SANDBOX_UID}:${SANDBOX_UID}` : `${uid}:${process.getgid?.() ?? uid}`,
    hostname: "sandbox",
    network: "none",
    mounts: [
      ...system(),
      { source: hosts, target: "/etc/hosts", readOnly: true },
      ...confinement.readOnly.map(bind(true)),
      ...[...confinement.writable, ...confinement.sockets].map(bind(false)),
      ...(leash === undefined ? [] : [{ source: leash, target: LEASH, readOnly: true }])
    ],
    tmpfs: { "/tmp": inMemory },
    readOnlyRoot: true,
    memory,
    pids: PROCESSES,
    sharedMemory: inMemory,
    devices: nvidia(),
    stdin: true,
    // what it says goes to its owner alone
    keepLogs: false
  }
}
