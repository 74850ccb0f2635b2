/**
 * Imports a plugin file in the state that a digest names. A module stays loaded as long as the process: a daemon that has loaded
 * `./mine.ts` would go on using it after an edit, so files beside a pipeline are loaded under a URL that carries their digest, and so
 * is what they import by relative path. They find `effect` and `@hypernode/*` where the engine has them if their project has none.
 */
import { createRequire, registerHooks } from "node:module"
import { pathToFileURL } from "node:url"

const MARK = "hyper"
const OURS = /^(effect|@hypernode\/[a-z]+)(\/|$)/
let hooked = false

const nodeImport = createRequire(import.meta.url)("./nodeImport.cjs") as (url: string) => Promise<{ readonly default?: unknown }>

const markOf = (url: string | undefined): string | undefined => {
  const query = url === undefined ? -1 : url.indexOf(`?${MARK}=`)
  return query < 0 ? undefined : url!.slice(query + MARK.length + 2)
}

const hook = (): void => {
  if (hooked) return
  hooked = true
  registerHooks({
    resolve: (specifier, context, next) => {
      const mark = markOf(context.parentURL)
      if (mark !== undefined && OURS.test(specifier)) {
        try {
          return next(specifier, context)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error
          return next(specifier, { ...context, parentURL: import.meta.url })
        }
      }
      const resolved = next(specifier, context)
      const isRelative = specifier.startsWith("./") || specifier.startsWith("../")
      // ours to mark: what was asked for with a mark, and what that imports by relative path
      const own = markOf(resolved.url) !== undefined || (mark !== undefined && isRelative)
      if (!own) return resolved
      const url = resolved.url.includes("?") ? resolved.url : `${resolved.url}?${MARK}=${mark}`
      // TypeScript is a module even where package.json says "commonjs", which is what npm init writes
      return /\.ts\?/.test(url) ? { ...resolved, url, format: "module-typescript" } : { ...resolved, url }
    }
  })
}

export const importFresh = (path: string, digest: string): Promise<{ readonly default?: unknown }> => {
  hook()
  return nodeImport(`${pathToFileURL(path).href}?${MARK}=${digest.replace("sha256:", "").slice(0, 16)}`)
}
