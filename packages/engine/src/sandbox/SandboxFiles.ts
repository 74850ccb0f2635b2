/** The few files of /etc that programs expect, without the host's users, names or networks, and the system-call filter. Plain Node. */
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { SANDBOX_UID, type SandboxFixtures } from "./bubblewrap.ts"
import { seccompProgram } from "./seccomp.ts"

const VERSION = "1"

const files = (): Readonly<Record<string, string | Buffer>> => {
  const filter = seccompProgram()
  return {
    passwd: `hyper:x:${SANDBOX_UID}:${SANDBOX_UID}::/tmp:/usr/sbin/nologin\n`,
    group: `hyper:x:${SANDBOX_UID}:\n`,
    hosts: "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    ...(filter === undefined ? {} : { "seccomp.bpf": filter })
  }
}

/** Writes them below `parent` unless they are there. Whole or absent. */
export const sandboxFiles = (parent: string): SandboxFixtures => {
  const directory = join(parent, `etc-${VERSION}`)
  mkdirSync(directory, { recursive: true })
  const wanted = files()
  for (const [name, content] of Object.entries(wanted)) {
    const path = join(directory, name)
    if (existsSync(path)) continue
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, content)
    chmodSync(temporary, 0o644) // whatever the umask: another identity reads them
    renameSync(temporary, path)
  }
  return { directory, filter: "seccomp.bpf" in wanted ? join(directory, "seccomp.bpf") : undefined }
}
