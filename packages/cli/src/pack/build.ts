/**
 * Makes the packs that `bin/pack.js` loads, where there are none or a file has changed. A program of its own, run in the background by the
 * daemon when it is idle: `node --experimental-import-meta-resolve build.ts CACHE [NAME ...]`. Writes nothing but the cache's `packs` directory.
 */
import { createHash } from "node:crypto"
import { renameSync, rmSync, writeFileSync } from "node:fs"
import { constants, setPriority } from "node:os"
import { fileURLToPath } from "node:url"
import { ownPlugins } from "@hypernode/engine/plugin/locate"
import { ownCache } from "../../bin/ownCache.js"
import { currentPack, packPath } from "../../bin/pack.js"
import { bundleOf, graphOf } from "./bundle.ts"
import { type PackOf, packs } from "./packs.ts"
import { Sources } from "./Sources.ts"

const from = fileURLToPath(import.meta.url)

const writeWhole = (path: string, text: string): void => {
  const part = `${path}.${process.pid}`
  try {
    writeFileSync(part, text, { mode: 0o600 })
    renameSync(part, path)
  } catch (cause) {
    rmSync(part, { force: true })
    throw cause
  }
}

const make = async (cache: string, pack: PackOf): Promise<void> => {
  const sources = new Sources()
  const outside = new Set((await graphOf(sources, pack.before, from, new Set())).paths)
  const graph = await graphOf(sources, pack.entries, from, outside)
  const code = await bundleOf(sources, graph, from, outside)
  const path = packPath(cache, pack.name)
  writeWhole(`${path}.mjs`, code)
  writeWhole(`${path}.json`, JSON.stringify({ digest: createHash("sha256").update(code).digest("hex"), files: sources.stamps(graph.paths) }))
  process.stdout.write(`${pack.name}: ${graph.paths.length} modules, ${code.length} bytes\n`)
}

const [cache, ...names] = process.argv.slice(2)
if (cache === undefined) {
  process.stderr.write("usage: build.ts CACHE (the daemon starts this itself)\n")
  process.exit(2)
}
// a daemon that is killed takes this with it
const parent = process.ppid
setInterval(() => process.ppid === parent || process.exit(1), 250).unref()
setPriority(constants.priority.PRIORITY_LOW)
if (ownCache(cache, "packs") !== undefined) {
  const wanted = packs(await ownPlugins(process.cwd())).filter(({ name }) => names.length === 0 || names.includes(name))
  for (const pack of wanted) if (currentPack(cache, pack.name) === undefined) await make(cache, pack)
}
