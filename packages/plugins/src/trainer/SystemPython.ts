/** The interpreter that virtual environments are made from: the newest one on the PATH that is recent enough and has `venv` with pip. */
import { accessSync, constants } from "node:fs"
import { delimiter, isAbsolute, join } from "node:path"
import { inspectOnce } from "./InspectionMemo.ts"
import { inspectPython, isRecent, type PythonFacts } from "./InspectPython.ts"

/** Tested versions first; `python3` may be any of them. */
const CANDIDATES = ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.14", "/usr/bin/python3", "python"]

export class NoPython extends Error {
  readonly remedy: string
  constructor(tried: ReadonlyArray<string>) {
    super(`No usable Python found: training needs Python 3.10 or newer with the venv module. Tried on the PATH: ${tried.join("; ")}`)
    this.remedy = "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12), or set HYPER_PYTHON to an environment that has the pinned packages."
  }
}

/** Where the PATH has it, as an absolute path. */
const onPath = (name: string): string | undefined =>
  isAbsolute(name) ? name : (process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute).map((directory) => join(directory, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

const inspect = (candidate: string, cache: string | undefined, signal: AbortSignal | undefined): Promise<PythonFacts> => {
  const path = cache === undefined ? undefined : onPath(candidate)
  return path === undefined || cache === undefined ? inspectPython(candidate, [], signal) : inspectOnce(path, [], cache, signal)
}

/** Rejects with NoPython, which says why each candidate was passed over. `cache`: where what was found out is kept (InspectionMemo); default: nowhere. */
export const systemPython = async (signal?: AbortSignal, candidates: ReadonlyArray<string> = CANDIDATES, cache?: string): Promise<PythonFacts> => {
  const tried: Array<string> = []
  for (const candidate of candidates) {
    try {
      const facts = await inspect(candidate, cache, signal)
      if (!isRecent(facts.version)) tried.push(`${candidate} is ${facts.version}`)
      else if (!facts.canVenv) tried.push(`${candidate} ${facts.version} has no venv module (Debian: apt-get install python3-venv)`)
      else return facts
    } catch (error) {
      tried.push(`${candidate}: ${error instanceof Error ? error.message : "failed"}`)
    }
  }
  throw new NoPython(tried)
}
