/**
 * What was found out about an interpreter, kept until it or its packages change: a plan asks every time, and starting Python costs more
 * than the rest of a plan.
 */
import { mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { inspectPython, type PythonFacts } from "./InspectPython.ts"
import { shortDigest } from "./Requirements.ts"

/** Changes when the interpreter is replaced, or a package is installed or removed. Undefined where one of them is not there. */
const stampOf = (python: string, packagesDirectory: string): string | undefined => {
  try {
    const program = statSync(realpathSync(python))
    return `${program.ino} ${program.size} ${program.mtimeMs} ${statSync(packagesDirectory).mtimeMs}`
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
  if (before !== undefined && before.stamp === stampOf(python, before.facts.packagesDirectory)) return before.facts
  const facts = await inspectPython(python, packages, signal)
  const stamp = stampOf(python, facts.packagesDirectory)
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
