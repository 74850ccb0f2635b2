/**
 * What was found out about an interpreter, kept until it or its packages change: a plan asks every time, and starting Python costs more
 * than the rest of a plan.
 */
import { mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { inspectPython, type PythonFacts } from "./InspectPython.ts"
import { pyenvChoice } from "./pyenvChoice.ts"
import { shortDigest } from "./Requirements.ts"

/**
 * Changes when the interpreter is replaced, when a package is installed or removed, or a module of its own library (Debian ships `venv` and
 * pip apart). Undefined where one of them is not there, and where `python` is a script that picks an interpreter in a way not known here:
 * it may pick another next time.
 */
const stampOf = (python: string, { executable, packagesDirectory, paths }: PythonFacts): string | undefined => {
  try {
    const real = realpathSync(executable)
    const choice = realpathSync(python) === real ? "" : pyenvChoice(python)
    if (choice === undefined) return undefined
    const program = statSync(real)
    const changes = [packagesDirectory, ...paths].map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
    return `${program.ino} ${program.size} ${program.mtimeMs} ${changes.join(" ")} ${choice}`
  } catch {
    return undefined
  }
}

const recall = (path: string): { readonly stamp: string; readonly facts: PythonFacts } | undefined => {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as { readonly stamp: string; readonly facts: PythonFacts }
  } catch {
    return undefined
  }
}

/** `python`: an absolute path. `cache`: the shared cache directory. Rejects as inspectPython does; a cache that cannot be written costs time only. */
export const inspectOnce = async (python: string, packages: ReadonlyArray<string>, cache: string, signal?: AbortSignal): Promise<PythonFacts> => {
  const path = join(cache, "python", `inspected-${shortDigest([python, packages])}.json`)
  const before = recall(path)
  if (before !== undefined && before.stamp === stampOf(python, before.facts)) return before.facts
  const facts = await inspectPython(python, packages, signal)
  const stamp = stampOf(python, facts)
  if (stamp !== undefined) {
    try {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(`${path}.${process.pid}`, JSON.stringify({ stamp, facts }))
      renameSync(`${path}.${process.pid}`, path)
    } catch {
      // asked again next time
    }
  }
  return facts
}
