/** Asks an interpreter what it is and which of the pinned packages it has. Reads metadata only, imports none of them: 0.1 s. */
import { execFile } from "node:child_process"

export interface PythonFacts {
  readonly executable: string
  /** "3.11.7" */
  readonly version: string
  /** "linux-x86_64" */
  readonly platform: string
  readonly prefix: string
  readonly basePrefix: string
  /** the base interpreter's own library folders, where they lie outside its prefix */
  readonly paths: ReadonlyArray<string>
  /** where packages are installed: its time of change tells when some were added or removed */
  readonly packagesDirectory: string
  /** can it make a virtual environment with pip? */
  readonly canVenv: boolean
  /** lower-case name → version, of the names asked for */
  readonly packages: Readonly<Record<string, string>>
}

const SCRIPT = `
import importlib.util, json, platform, sys, sysconfig
from importlib import metadata
packages = {}
for name in sys.argv[1:]:
    try:
        packages[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "platform": (sys.platform + "-" + platform.machine()).lower(),
    "prefix": sys.prefix,
    "basePrefix": sys.base_prefix,
    "paths": [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")],
    "packagesDirectory": sysconfig.get_path("purelib"),
    "canVenv": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
    "packages": packages,
}))
`

/** Rejects with a short reason where `python` does not run, takes over 20 s, or answers something else. */
export const inspectPython = (python: string, packages: ReadonlyArray<string>, signal?: AbortSignal): Promise<PythonFacts> =>
  new Promise((resolve, reject) => {
    execFile(
      python,
      ["-I", "-c", SCRIPT, ...packages],
      { timeout: 20_000, maxBuffer: 1 << 20, ...(signal === undefined ? {} : { signal }), env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", HOME: process.env["HOME"] ?? "/" } },
      (error, stdout, stderr) => {
        if (error !== null) {
          const code = (error as NodeJS.ErrnoException).code
          return reject(new Error(code === "ENOENT" ? "no such program" : code === "EACCES" ? "not executable" : (stderr.trim().split("\n").at(-1) || error.message).slice(0, 300)))
        }
        try {
          resolve(JSON.parse(stdout) as PythonFacts)
        } catch {
          reject(new Error("it does not answer like a Python interpreter"))
        }
      }
    )
  })

/** At least 3.10. */
export const isRecent = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > 3 || (major === 3 && minor >= 10)
}
