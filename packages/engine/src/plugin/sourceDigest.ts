/**
 * The digest of a plugin's source, recorded in a plan and compared when the plugin loads. Covered: for a plugin of ours its folder, for
 * an npm package every file of the package, for a file beside the pipeline the file; and always what these import by relative path.
 * Not covered: packages that the plugin depends on.
 */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { digestOfJson, type Digest } from "../artifact/Digest.ts"
import type { Location } from "./locate.ts"
import { PluginProblem } from "./PluginProblem.ts"

const MAX_FILES = 20_000
const CODE = /\.[cm]?[jt]s$/
/** `from "./x.ts"`, `import "./x.ts"`, `import("./x.ts")`, `new URL("./x", import.meta.url)` */
const RELATIVE = /(?:\bfrom|\bimport|\bimport\s*\(|\bnew\s+URL\s*\()\s*["'](\.{1,2}\/[^"'\n]+)["']/g

const filesBelow = (directory: string, found: Array<string> = []): Array<string> => {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || entry.name === "node_modules" || entry.name === "__pycache__") continue
    const path = join(directory, entry.name)
    if (entry.isDirectory()) filesBelow(path, found)
    else if (entry.isFile()) found.push(path)
    if (found.length > MAX_FILES) throw new PluginProblem("InvalidInput", `the plugin's folder ${directory} holds more than ${MAX_FILES} files`, "give the plugin a folder or package of its own")
  }
  return found
}

const withImports = (starts: ReadonlyArray<string>): ReadonlySet<string> => {
  const seen = new Set<string>()
  const open = [...starts]
  while (open.length > 0) {
    const path = open.pop()!
    if (seen.has(path)) continue
    seen.add(path)
    if (!CODE.test(path)) continue
    for (const match of readFileSync(path, "utf8").matchAll(RELATIVE)) {
      const target = resolve(dirname(path), match[1]!)
      if (existsSync(target) && statSync(target).isFile()) open.push(realpathSync(target))
    }
  }
  return seen
}

/** Throws PluginProblem or what the file system says. */
export const sourceDigest = (location: Location): Digest => {
  const starts = location.origin === "file" ? [location.entry] : [location.entry, ...filesBelow(location.root)]
  const files = [...withImports(starts)]
    .map((path) => [relative(location.root, path).split(sep).join("/"), createHash("sha256").update(readFileSync(path)).digest("hex")] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return digestOfJson(files)
}
