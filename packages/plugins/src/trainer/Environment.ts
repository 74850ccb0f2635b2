/**
 * The Python that the trainer and the model server run on. `HYPER_PYTHON` where it is set, its packages checked against the pins;
 * otherwise a virtual environment in `<cache>/python/<digest>`, made on first use and shared by everything of this user.
 *
 * Settings: HYPER_PYTHON (an interpreter), HYPER_TORCH_INDEX (URL of an extra index with CPU builds of torch, used on machines
 * without an NVIDIA GPU), and pip's own (PIP_INDEX_URL, PIP_FIND_LINKS, ...).
 */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { dirname, isAbsolute, join } from "node:path"
import * as Effect from "effect/Effect"
import { homeFromEnv } from "@hypernode/engine/Home"
import type { PlanNote } from "@hypernode/engine/plugin/Plugin"
import { Progress } from "@hypernode/engine/stage/Progress"
import { StageError } from "@hypernode/engine/stage/StageError"
import { buildEnvironment, expectedBytes, sweepBuilds } from "./BuildEnvironment.ts"
import { isAlive, releaseLock, takeLock } from "./BuildLock.ts"
import { inspectOnce } from "./InspectionMemo.ts"
import { inspectPython, isRecent, type PythonFacts } from "./InspectPython.ts"
import { differences, requirements, requirementsFile, shortDigest, trainerPython } from "./Requirements.ts"
import { NoPython, systemPython } from "./SystemPython.ts"

export interface PythonEnvironment {
  /** absolute path of the interpreter */
  readonly python: string
  /** of pins, Python version and platform; of the installed versions where HYPER_PYTHON is used. Part of cache keys. */
  readonly digest: string
  /** value for PYTHONPATH: where `hyper_trainer` lies */
  readonly pythonPath: string
  /** "3.11.7" */
  readonly version: string
  /** directories that a sandbox binds read-only besides the system's own: environment, base interpreter, trainer */
  readonly readOnly: ReadonlyArray<string>
  /** torch's version, as "2.13.0" or "2.13.0+cpu" */
  readonly torch: string
}

/** What the digest is of: the same answer before and after the environment is made. */
const digestOf = (facts: Pick<PythonFacts, "version" | "platform" | "packages">, fixed: boolean): string =>
  shortDigest([requirements().text, facts.version, facts.platform, fixed ? facts.packages : {}])

const names = (): ReadonlyArray<string> => requirements().pins.map((pin) => pin.name)

/** Paths to bind: real ones, outside /usr, without those below another. */
const outermost = (paths: ReadonlyArray<string>): ReadonlyArray<string> => {
  const real = [...new Set(paths.flatMap((path) => {
    try {
      return [path, realpathSync(path)]
    } catch {
      return []
    }
  }))].filter((path) => path !== "/usr" && !path.startsWith("/usr/") && !path.startsWith("/lib"))
  return real.filter((path) => !real.some((other) => other !== path && path.startsWith(`${other}/`)))
}

const describe = (python: string, facts: PythonFacts, digest: string): PythonEnvironment => ({
  python,
  digest,
  pythonPath: trainerPython,
  version: facts.version,
  readOnly: outermost([facts.prefix, facts.basePrefix, ...facts.paths, trainerPython]),
  torch: facts.packages["torch"] ?? ""
})

/** HYPER_PYTHON as a checked environment. */
const given = Effect.fnUntraced(function*(python: string, cache: string) {
  const remedy = "Unset HYPER_PYTHON to have an environment made, or install the pins: python -m pip install -r requirements.txt of the trainer."
  const facts = yield* Effect.tryPromise({
    try: (signal) => (isAbsolute(python) ? inspectOnce(python, names(), cache, signal) : inspectPython(python, names(), signal)),
    catch: (cause) => new StageError({ reason: "Missing", message: `HYPER_PYTHON (${python}) does not run: ${(cause as Error).message}`, remedy })
  })
  if (!isRecent(facts.version)) return yield* new StageError({ reason: "Missing", message: `HYPER_PYTHON (${python}) is Python ${facts.version}; training needs 3.10 or newer`, remedy })
  const wrong = differences(facts.packages, requirements().pins)
  if (wrong.length > 0) return yield* new StageError({ reason: "Missing", message: `HYPER_PYTHON (${python}) does not have the pinned packages: ${wrong.join(", ")}`, remedy })
  return describe(python, facts, digestOf(facts, true))
})

/** Looked for once a process: a plan asks more than once. One that has gone meanwhile is looked for again. */
let known: PythonFacts | undefined

const system = Effect.tryPromise({
  try: async (signal) => {
    if (known === undefined || !existsSync(known.executable)) known = await systemPython(signal, undefined, homeFromEnv(process.env, process.cwd()).cache)
    return known
  },
  catch: (cause) => new StageError({ reason: "Missing", message: (cause as Error).message, ...(cause instanceof NoPython ? { remedy: cause.remedy } : {}) })
})

/** The link's target carries `.complete`, written last. */
const isComplete = (link: string): boolean => {
  try {
    return readFileSync(join(link, ".complete"), "utf8") !== ""
  } catch {
    return false
  }
}

/** Makes the environment that `link` names unless it is there; of several callers, in any process, one makes it and the others wait. */
export const ensureEnvironment = Effect.fn("ensureEnvironment")(function*(options: { readonly link: string; readonly base: PythonFacts; readonly requirementsFile: string; readonly packages: number }) {
  const { link } = options
  const progress = yield* Progress
  const lock = `${link}.lock`
  const round = Effect.acquireUseRelease(
    Effect.try({
      try: () => takeLock(lock),
      catch: (cause) => new StageError({ reason: "Denied", message: `Cannot write below ${dirname(link)}: ${(cause as Error).message}`, remedy: "Set HYPER_CACHE to a directory that you may write." })
    }),
    (mine) =>
      !mine || isComplete(link)
        ? Effect.void
        : Effect.andThen(Effect.promise(() => sweepBuilds(link, isAlive)), buildEnvironment(options)),
    (mine) => Effect.sync(() => mine && releaseLock(lock))
  )
  let waited = false
  while (!isComplete(link)) {
    yield* round
    if (isComplete(link)) return
    if (!waited) yield* progress.log("Another process is making the Python environment: waiting for it")
    waited = true
    yield* Effect.sleep("500 millis")
  }
})

/**
 * The environment, made first where it is not there yet (announced through Progress with its size). Two callers make it once.
 * `cache`: the shared cache directory (`StageContext.cache`). Fails with Missing (no Python, wrong HYPER_PYTHON), Unavailable (package index),
 * OutOfSpace.
 */
export const pythonEnvironment = Effect.fn("pythonEnvironment")(function*(cache: string): Effect.fn.Return<PythonEnvironment, StageError, Progress> {
  const python = process.env["HYPER_PYTHON"]
  if (python !== undefined && python !== "") return yield* given(python, cache)
  const base = yield* system
  const digest = digestOf(base, false)
  const link = join(cache, "python", digest)
  yield* ensureEnvironment({ link, base, requirementsFile, packages: requirements().pins.length })
  const made = join(link, "bin", "python")
  const facts = yield* Effect.tryPromise({
    try: (signal) => inspectPython(made, names(), signal),
    catch: (cause) => new StageError({ reason: "Corrupt", message: `The Python environment ${link} does not run: ${(cause as Error).message}`, remedy: `Remove ${link} and run again: it is made anew.` })
  })
  const wrong = differences(facts.packages, requirements().pins)
  if (wrong.length > 0) return yield* new StageError({ reason: "Corrupt", message: `The Python environment ${link} is not as it was made: ${wrong.join(", ")}`, remedy: `Remove ${link} and run again: it is made anew.` })
  return describe(made, facts, digest)
})

/** The digest alone, without making anything: for `fingerprint`. */
export const environmentDigest: Effect.Effect<string, StageError> = Effect.gen(function*() {
  const python = process.env["HYPER_PYTHON"]
  // a fingerprint is not told where the cache lies; it runs in a process of the home's owner
  if (python !== undefined && python !== "") return (yield* given(python, homeFromEnv(process.env, process.cwd()).cache)).digest
  return digestOf(yield* system, false)
})

export interface EnvironmentPlan {
  readonly notes: ReadonlyArray<PlanNote>
  readonly downloadBytes: number
}

/** For `estimate`: whether the environment is there, what making it costs, or why it cannot be had. Starts nothing. */
export const environmentPlan = (cache: string): Effect.Effect<EnvironmentPlan> =>
  Effect.gen(function*() {
    const python = process.env["HYPER_PYTHON"]
    if (python !== undefined && python !== "") {
      const { version, torch } = yield* given(python, cache)
      return { notes: [{ level: "info" as const, message: `Python ${version} with torch ${torch} from HYPER_PYTHON` }], downloadBytes: 0 }
    }
    const base = yield* system
    if (isComplete(join(cache, "python", digestOf(base, false)))) return { notes: [{ level: "info" as const, message: `Python ${base.version}: environment is there` }], downloadBytes: 0 }
    const bytes = expectedBytes(base.platform, (process.env["PIP_FIND_LINKS"] ?? "").split(/\s+/).filter((place) => place !== ""), process.env["HYPER_TORCH_INDEX"])
    return { notes: [{ level: "info" as const, message: `Python ${base.version}: an environment is made first, once for this user (about ${(bytes / 1e9).toFixed(0)} GB on disk)` }], downloadBytes: Math.round(bytes / 2) }
  }).pipe(
    Effect.catch((error) => Effect.succeed({ notes: [{ level: "refuse" as const, message: error.message, ...(error.remedy === undefined ? {} : { remedy: error.remedy }) }], downloadBytes: 0 }))
  )
