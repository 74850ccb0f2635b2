/**
 * Makes a virtual environment. A virtual environment cannot be moved, so each build has a directory of its own, and a symbolic link
 * published last (by rename) names the one that is complete: a build that was killed is never seen, and pip's own cache keeps what it
 * had downloaded.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import type { PythonFacts } from "./InspectPython.ts"
import { pipSources, reachable } from "./PackageIndex.ts"
import { type ProgramFailed, runLines } from "./RunLines.ts"

const LABEL = "Python environment"

/**
 * Runs a module that dies with us (on Linux the kernel sees to it, also after kill -9) and whose files others may read: a sandboxed
 * worker may be another user.
 */
const RUN = `import os, runpy, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
os.umask(0o022)
module = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)`

/** pip's and the proxy's settings pass through; nothing else of ours does. */
export const pipEnvironment = (from: Readonly<Record<string, string | undefined>>): Record<string, string> => {
  const env: Record<string, string> = { PYTHONUNBUFFERED: "1", PIP_DISABLE_PIP_VERSION_CHECK: "1", PIP_NO_INPUT: "1" }
  for (const [name, value] of Object.entries(from)) {
    if (value !== undefined && (/^(PATH|HOME|LANG|LC_ALL|TMPDIR|XDG_CACHE_HOME|XDG_CONFIG_HOME|NETRC|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/.test(name) || name.startsWith("PIP_") || /^(https?|all|no)_proxy$/i.test(name))) env[name] = value
  }
  return env
}

const hasNvidia = (): boolean => existsSync("/dev/nvidiactl") || existsSync("/proc/driver/nvidia/version")

const hasCpuWheel = (findLinks: ReadonlyArray<string>): boolean =>
  findLinks.some((place) => {
    try {
      return readdirSync(place).some((file) => /^torch-.*(\+|%2[Bb])cpu/.test(file))
    } catch {
      return false
    }
  })

/** What the build will cost, in bytes on disk. CUDA wheels are what Linux gets unless a CPU build is configured. */
export const expectedBytes = (platform: string, findLinks: ReadonlyArray<string>, torchIndex: string | undefined): number =>
  platform.startsWith("linux") && !(torchIndex !== undefined && !hasNvidia()) && !hasCpuWheel(findLinks) ? 5.0e9 : 1.2e9

const sentenceOf = (failure: ProgramFailed): string =>
  failure.lastLines.filter((line) => /error|no space|could not|failed/i.test(line)).slice(-3).join(" ").slice(0, 600) || failure.message

const failedBuild = (doing: string, failure: ProgramFailed): StageError => {
  const said = sentenceOf(failure)
  if (/no space left|errno 28/i.test(failure.lastLines.join("\n"))) {
    return new StageError({ reason: "OutOfSpace", message: `${doing}: the disk is full`, remedy: "Free some space (the environment needs about 5 GB), or set HYPER_CACHE to a larger disk." })
  }
  return /could not find a version|no matching distribution|connection|timed out|temporary failure|network/i.test(failure.lastLines.join("\n"))
    ? new StageError({ reason: "Unavailable", message: `${doing}: ${said}`, remedy: "Check the package index (PIP_INDEX_URL, PIP_FIND_LINKS), or set HYPER_PYTHON to an environment that has the pinned packages." })
    : new StageError({ reason: "Internal", message: `${doing}: ${said}`, remedy: "Run the same command by hand to see all of it, or set HYPER_PYTHON to an environment that has the pinned packages." })
}

const attempt = (doing: string, work: () => Promise<unknown>): Effect.Effect<unknown, StageError> =>
  Effect.tryPromise({
    try: work,
    catch: (cause) => new StageError({ reason: (cause as NodeJS.ErrnoException).code === "ENOSPC" ? "OutOfSpace" : "Internal", message: `${doing}: ${(cause as Error).message}`, remedy: "Check that the cache directory (HYPER_CACHE) is writable and has room." })
  })

/** Builds into a fresh directory beside `link` and points `link` at it. Interrupted: the directory is removed. */
export const buildEnvironment = Effect.fn("buildEnvironment")(function*(options: {
  readonly link: string
  readonly base: PythonFacts
  readonly requirementsFile: string
  readonly packages: number
}) {
  const progress = yield* Progress
  const env = pipEnvironment(process.env)
  const torchIndex = hasNvidia() ? undefined : process.env["HYPER_TORCH_INDEX"]
  const root = dirname(options.link)
  const directory = join(root, `${basename(options.link)}-${process.pid}-${Date.now().toString(36)}`)
  const python = join(directory, "bin", "python")

  yield* attempt("Cannot make the environments' directory", () => mkdir(root, { recursive: true, mode: 0o755 }))
  yield* Effect.gen(function*() {
    yield* progress.log(`Making a Python ${options.base.version} environment for training in ${root}`)
    yield* runLines(options.base.executable, ["-c", RUN, "venv", directory], { env }).pipe(
      Stream.runDrain,
      Effect.mapError((failure) => failedBuild("Cannot make a virtual environment", failure))
    )
    const sources = yield* Effect.promise(() => pipSources(python, env))
    const args = ["-c", RUN, "pip", "install", "--retries", "1", "--timeout", "15", "--progress-bar", "off", "--requirement", options.requirementsFile]
    if (sources.index !== undefined && !(yield* Effect.promise(() => reachable(sources.proxy ?? sources.index!)))) {
      if (sources.findLinks.length === 0) {
        return yield* new StageError({
          reason: "Unavailable",
          message: `The Python package index at ${new URL(sources.proxy ?? sources.index).host} does not answer`,
          remedy: "Check the network, point PIP_INDEX_URL or PIP_FIND_LINKS at an index you can reach, or set HYPER_PYTHON to an environment that has the pinned packages.",
          retryAfter: 30
        })
      }
      yield* progress.log("The package index does not answer: taking packages from PIP_FIND_LINKS alone", "warn")
      args.push("--no-index")
    } else if (torchIndex !== undefined) {
      // a CPU build carries a local version (+cpu), which pip prefers to the same version without one
      args.push("--extra-index-url", torchIndex)
    }
    const gigabytes = expectedBytes(options.base.platform, sources.findLinks, torchIndex) / 1e9
    yield* progress.log(`Installing ${options.packages} pinned packages: about ${gigabytes.toFixed(0)} GB on disk${gigabytes > 2 ? " (with CUDA libraries; HYPER_TORCH_INDEX can name an index with CPU builds)" : ""}, once for this user`)
    let collected = 0
    yield* runLines(python, args, { env }).pipe(
      Stream.runForEach((line) => {
        const got = /^\s*(?:Downloading|Using cached|Processing) (\S+)(?: \(([^)]+)\))?/.exec(line)
        if (got !== null && !got[1]!.endsWith(".metadata")) {
          collected++
          const file = basename(new URL(got[1]!, "file:///").pathname)
          return Effect.andThen(progress.report({ done: collected, unit: "packages", label: LABEL }), progress.log(`${LABEL}: ${file}${got[2] === undefined ? "" : ` (${got[2]})`}`))
        }
        return line.startsWith("Installing collected packages") ? progress.log(`${LABEL}: unpacking ${collected} packages`) : Effect.void
      }),
      Effect.mapError((failure) => failedBuild("Cannot install the pinned Python packages", failure))
    )
    yield* attempt("Cannot publish the environment", async () => {
      await writeFile(join(directory, ".complete"), `${options.base.version}\n`)
      const next = `${directory}.link`
      await symlink(basename(directory), next)
      await rename(next, options.link)
    })
    yield* progress.report({ done: collected, total: collected, unit: "packages", label: LABEL })
  }).pipe(Effect.onError(() => Effect.promise(() => rm(directory, { recursive: true, force: true }))))
})

/** Directories of builds that did not end, whose process is gone. */
export const sweepBuilds = async (link: string, isAlive: (pid: number) => boolean): Promise<void> => {
  let names: ReadonlyArray<string> = []
  try {
    names = readdirSync(dirname(link))
  } catch {
    return
  }
  for (const name of names) {
    const match = new RegExp(`^${basename(link)}-(\\d+)-[a-z0-9]+$`).exec(name)
    if (match === null || isAlive(Number(match[1]))) continue
    const directory = join(dirname(link), name)
    let complete = false
    try {
      complete = readFileSync(join(directory, ".complete"), "utf8") !== ""
    } catch {
      // never completed
    }
    if (!complete) await rm(directory, { recursive: true, force: true })
  }
}
