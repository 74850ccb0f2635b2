/** A base image with a Python and pip, made from this machine's own interpreter: what `python:3-slim` is where a registry can be reached. */
import { execFileSync } from "node:child_process"
import { existsSync, lstatSync, readdirSync, realpathSync, statSync } from "node:fs"
import { join } from "node:path"
import { Containers, type ContextEntry } from "@hypernode/engine/capability/Containers"
import { shellRoot } from "@hypernode/engine/testing/shellRoot"
import * as Effect from "effect/Effect"

export const BASE = "hyper-test-python:1"

/** What no program of the base is linked to, and wheels or the C library open while they run. */
const opened = ["libstdc++.so.6", "libgomp.so.1", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"]

const librariesOf = (path: string): ReadonlyArray<string> => {
  try {
    return [...execFileSync("ldd", [path], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!)
  } catch {
    return []
  }
}

const below = (directory: string, skip: ReadonlySet<string>): Array<string> =>
  readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    if (skip.has(name) || lstatSync(path).isSymbolicLink()) return []
    return statSync(path).isDirectory() ? below(path, skip) : [path]
  })

/** `python`: of an environment whose base interpreter is taken. */
export const pythonBase = (python: string): Effect.Effect<void, unknown, Containers> =>
  Effect.gen(function*() {
    const said = execFileSync(python, ["-c", "import sys, sysconfig; print(sys._base_executable); print(sysconfig.get_path('stdlib'))"], { encoding: "utf8" }).trim().split("\n")
    const [program, stdlib] = [realpathSync(said[0]!), said[1]!]
    const library = below(stdlib, new Set(["site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "tkinter", "turtledemo"])).filter((path) => !path.endsWith(".a"))
    const shared = [program, ...library.filter((path) => path.endsWith(".so")), ...opened.map((name) => `/lib/x86_64-linux-gnu/${name}`)].filter(existsSync)
    const files = new Map<string, string>([program, ...library].map((path) => [path, path]))
    for (const path of shared.flatMap((object) => [object, ...librariesOf(object)])) files.set(path, realpathSync(path))
    const certificates = "/etc/ssl/certs/ca-certificates.crt"
    if (existsSync(certificates)) files.set(certificates, realpathSync(certificates))
    const entries: ReadonlyArray<ContextEntry> = [...files].map(([path, file]) => ({ path: `root${path}`, file, size: statSync(file).size, executable: path === program || /\.so(\.|$)/.test(path) }))
    const containers = yield* Containers
    yield* containers.build({
      reference: BASE,
      dockerfile: `FROM scratch
COPY shell/root/ /
COPY root/ /
ENV PATH=/opt/bin:/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu PIP_CERT=${certificates} PIP_RETRIES=1 TMPDIR=/var/tmp
RUN ["${program}", "-m", "ensurepip"]
`,
      context: [...shellRoot().map((entry) => ({ ...entry, path: `shell/${entry.path}` })), ...entries, { path: "root/opt/bin/python", link: program }, { path: "root/tmp", mode: 0o1777 }, { path: "root/var/tmp", mode: 0o1777 }, { path: "root/etc/passwd", content: "root:x:0:0::/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n" }],
      labels: {},
      network: "none"
    })
  })
