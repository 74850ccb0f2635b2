/**
 * Entry of the evaluation process. Plain JavaScript: loading Node's TypeScript stripper costs twice what the rest of an evaluation does,
 * so sources that the parent has stripped before are taken from its file (`stripped.ts`) as long as they are unchanged.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"

const request = JSON.parse(process.argv[2])
const missed = []

if (request.stripped !== undefined) {
  let files = {}
  try {
    files = JSON.parse(readFileSync(request.stripped, "utf8"))
  } catch {
    // the first evaluation of this project
  }
  registerHooks({
    load: (url, context, next) => {
      if (context.format !== "module-typescript" || !url.startsWith("file:")) return next(url, context)
      const path = fileURLToPath(url)
      const known = Object.hasOwn(files, path) ? files[path] : undefined
      if (known !== undefined && readFileSync(path, "utf8") === known.source) return { format: "module", source: known.stripped, shortCircuit: true }
      missed.push(path)
      return next(url, context)
    }
  })
}

globalThis[Symbol.for("hypernode.missed")] = missed
await import(pathToFileURL(request.evaluator).href)
