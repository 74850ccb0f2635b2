/** The smallest root in which a container can run a shell: the host's own dash and a few programs with the libraries they are linked to. */
import { execFileSync } from "node:child_process"
import { realpathSync, statSync } from "node:fs"
import { basename } from "node:path"
import type { ContextEntry } from "../capability/Containers.ts"

/** Below `root/` of a build's context: `FROM scratch` and `COPY root/ /`. */
export const shellRoot = (programs: ReadonlyArray<string> = ["/bin/cat", "/bin/sleep", "/usr/bin/dd", "/usr/bin/tail", "/usr/bin/head", "/usr/bin/id"]): ReadonlyArray<ContextEntry> => {
  const files = new Map<string, string>()
  const links = new Map<string, string>()
  for (const program of ["/bin/dash", ...programs]) {
    files.set(`bin/${basename(program)}`, realpathSync(program))
    for (const match of execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/(?:=> )?(\/\S+) \(0x/g)) files.set(match[1]!.slice(1), realpathSync(match[1]!))
  }
  links.set("bin/sh", "dash")
  return [
    ...[...files].map(([path, file]) => ({ path: `root/${path}`, file, size: statSync(file).size, executable: true })),
    ...[...links].map(([path, link]) => ({ path: `root/${path}`, link }))
  ]
}
