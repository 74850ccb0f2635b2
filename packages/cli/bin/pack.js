/**
 * Loads modules from a pack: one file that holds some hundred of ours and effect's, made in the background by `src/pack/build.ts`. Each
 * module costs Node 0.3 ms whatever is in it, and a plan has 270, a daemon three times as many.
 *
 * A pack is used only as long as every file in it has the size and time of change it had, by the same Node, from a directory that only
 * this user can write, and with the digest that was noted. Otherwise the modules are loaded one by one, as ever. Whoever imports one of
 * the pack's modules gets the pack's: there are never two of one.
 */
import { createHash } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { registerHooks } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { isOurs } from "./ownCache.js"

/** of the manifest and of what the builder does */
const FORMAT = 1
/** Where `packages/` (or `node_modules/@hypernode/`) lies: two checkouts share a cache and no pack. */
const installed = new URL("../../", import.meta.url).href

/** Without extension: `.json` is the manifest, `.mjs` the modules. */
export const packPath = (cache, name) => join(cache, "packs", `${name}-${createHash("sha256").update(JSON.stringify([FORMAT, process.version, process.arch, installed])).digest("hex").slice(0, 16)}`)

/** The stamp of a file, as a manifest holds it. */
export const stampOf = (path) => {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? [path, -1, -1] : [path, stat.size, stat.mtimeMs]
}

const isCurrent = ([path, size, changed]) => {
  const [, sizeNow, changedNow] = stampOf(path)
  return size === sizeNow && changed === changedNow
}

/** URL of the pack's modules; undefined where there is none, or it is not what it should be. */
export const currentPack = (cache, name) => {
  const path = packPath(cache, name)
  try {
    if (![join(cache, "packs"), `${path}.json`, `${path}.mjs`].every(isOurs)) return undefined
    const { digest, files } = JSON.parse(readFileSync(`${path}.json`, "utf8"))
    if (!files.every(isCurrent) || createHash("sha256").update(readFileSync(`${path}.mjs`)).digest("hex") !== digest) return undefined
    return pathToFileURL(`${path}.mjs`).href
  } catch {
    return undefined
  }
}

/** A module that hands on what the pack's has. `live`: names whose values may change, and what the pack itself exports them as. */
const facade = (url, namespace, packed, live = {}) => {
  const fixed = Object.keys(namespace).filter((name) => !Object.hasOwn(live, name))
  return [
    `import { modules } from ${JSON.stringify(packed)}`,
    `const m = modules.get(${JSON.stringify(url)})`,
    ...fixed.map((name, i) => `const _${i} = m[${JSON.stringify(name)}]`),
    `export { ${fixed.map((name, i) => `_${i} as ${JSON.stringify(name)}`).join(", ")} }`,
    ...Object.entries(live).map(([name, exported]) => `export { ${exported} as ${name} } from ${JSON.stringify(packed)}`)
  ].join("\n")
}

/** From here on, modules that the pack holds come from it. True when there was one. Never rejects. */
export const usePack = async (cache, name) => {
  const url = currentPack(cache, name)
  if (url === undefined) return false
  try {
    const { live, modules } = await import(url)
    registerHooks({
      load: (asked, context, next) => {
        const namespace = modules.get(asked)
        return namespace === undefined ? next(asked, context) : { format: "module", source: facade(asked, namespace, url, live[asked]), shortCircuit: true }
      }
    })
    return true
  } catch {
    return false
  }
}
