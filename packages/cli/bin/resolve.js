/**
 * Node resolves every import by looking at the disk: the file, its real path, the package.json above it. That is 0.3 ms a module, half
 * of what starting `hyper` costs. Between files of one package there is nothing to find out: a relative import with its extension names
 * the file. And a package that one of our packages has found is where it was when the next of its files asks.
 *
 * Only for our own packages and effect's; everything else, and everything unusual, is left to Node. A file that is not there is still
 * an error, told when it is read. Loaded before anything else (`bin/hyper.js`; `--import` for the daemon).
 */
import { registerHooks } from "node:module"

/** `packages/` in the repository, `node_modules/@hypernode/` where installed */
const ours = new URL("../../", import.meta.url).href
const found = new Map()

/** Where `ours` ends and a file of ours begins, as in `engine/src/Home.ts`; undefined for what is not ours. */
const ownPackage = (url) => {
  if (!url.startsWith(ours) || url.includes("?") || url.includes("/node_modules/", ours.length)) return undefined
  const end = url.indexOf("/", ours.length)
  return end < 0 ? undefined : url.slice(0, end)
}

const isEffect = (url) => /\/node_modules\/(effect|@effect\/[^/]+)\/dist\/[^?]*\.js$/.test(url)

registerHooks({
  resolve: (specifier, context, next) => {
    const parent = context.parentURL
    if (parent === undefined || !parent.startsWith("file:") || context.importAttributes?.type !== undefined) return next(specifier, context)
    const from = ownPackage(parent)
    if (specifier.startsWith("./") || specifier.startsWith("../")) {
      if (from === undefined ? specifier.endsWith(".js") && isEffect(parent) : /\.[jt]s$/.test(specifier) && /\/(?:src|dist)\//.test(parent.slice(ours.length))) {
        const url = new URL(specifier, parent).href
        // out of the package: not a case for short cuts
        if (from === undefined ? isEffect(url) : url.startsWith(`${from}/`)) return { url, format: url.endsWith(".ts") ? "module-typescript" : "module", shortCircuit: true }
      }
      return next(specifier, context)
    }
    if (from === undefined || !/^(?:effect|@effect|@hypernode)(?:\/|$)/.test(specifier)) return next(specifier, context)
    const key = `${from} ${specifier} ${context.conditions.join()}`
    let known = found.get(key)
    if (known === undefined) {
      const { format, url } = next(specifier, context)
      known = { url, format, shortCircuit: true }
      found.set(key, known)
    }
    return known
  }
})
