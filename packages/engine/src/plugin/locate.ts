/**
 * Where a plugin's definition lies: a file beside the pipeline, or `<specifier>/plugin` of a package, looked for from the project
 * first, then from where the engine itself is installed.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { createRequire, findPackageJSON } from "node:module"
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { didYouMean } from "./near.ts"
import { PluginProblem } from "./PluginProblem.ts"

export const OWN_PACKAGE = "@hypernode/plugins"

export interface Location {
  readonly origin: "own" | "package" | "file"
  /** real path of the definition module */
  readonly entry: string
  /** what the source digest starts from: the plugin's folder (own), the package (package), the file's folder (file) */
  readonly root: string
  /** as a plan holds it: files relative to the project, `/`-separated */
  readonly specifier: string
}

const isFile = (specifier: string): boolean => specifier.startsWith("file:") || specifier.startsWith("./") || specifier.startsWith("../") || isAbsolute(specifier)

const locateFile = (specifier: string, projectDirectory: string): Location => {
  const path = specifier.startsWith("file:") ? fileURLToPath(specifier) : resolve(projectDirectory, specifier)
  let entry: string
  try {
    entry = realpathSync(path)
  } catch {
    throw new PluginProblem("Missing", `the plugin file ${path} is not there`, "put it back, or run hyper plan again if it moved")
  }
  const below = relative(realpathSync(projectDirectory), entry).split(sep).join("/")
  return { origin: "file", entry, root: dirname(entry), specifier: below.startsWith("../") ? below : `./${below}` }
}

/** `import` conditions, for packages whose exports name nothing that `require` may use. */
const importTarget = (target: unknown): string | undefined => {
  if (typeof target === "string") return target
  if (Array.isArray(target)) return target.map(importTarget).find((found) => found !== undefined)
  if (typeof target !== "object" || target === null) return undefined
  for (const [condition, inner] of Object.entries(target)) {
    if (condition === "node" || condition === "import" || condition === "default") {
      const found = importTarget(inner)
      if (found !== undefined) return found
    }
  }
  return undefined
}

const resolveFrom = (request: string, base: string): string | undefined => {
  const from = join(base, "noop.js")
  try {
    return createRequire(from).resolve(request)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") return undefined
  }
  const manifest = findPackageJSON(request, pathToFileURL(from))
  if (manifest === undefined) return undefined
  const exported = (JSON.parse(readFileSync(manifest, "utf8")) as { readonly exports?: Record<string, unknown> }).exports?.["./plugin"]
  const target = importTarget(exported)
  const path = target === undefined ? undefined : join(dirname(manifest), target)
  return path !== undefined && existsSync(path) ? path : undefined
}

/** Directories to resolve packages from, in order. */
const bases = (projectDirectory: string): ReadonlyArray<string> => {
  const program = process.argv[1]
  return [projectDirectory, dirname(fileURLToPath(import.meta.url)), ...(program === undefined ? [] : [dirname(program)])]
}

const packageOf = (specifier: string): string => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")

/** Ids of the plugins in our package, as far as it is installed: for near names. */
export const ownPlugins = async (projectDirectory: string): Promise<ReadonlyArray<string>> => {
  const { readdirSync } = await import("node:fs")
  for (const base of bases(projectDirectory)) {
    const manifest = resolveFrom(`${OWN_PACKAGE}/package.json`, base)
    if (manifest === undefined) continue
    for (const folder of ["src", "dist"]) {
      const directory = join(dirname(manifest), folder)
      if (!existsSync(directory)) continue
      return readdirSync(directory).filter((id) => ["plugin.ts", "plugin.js"].some((file) => existsSync(join(directory, id, file)))).toSorted()
    }
  }
  return []
}

/** Throws PluginProblem. */
export const locate = async (specifier: string, projectDirectory: string): Promise<Location> => {
  if (isFile(specifier)) return locateFile(specifier, projectDirectory)
  for (const base of bases(projectDirectory)) {
    const found = resolveFrom(`${specifier}/plugin`, base)
    if (found === undefined) continue
    const entry = realpathSync(found)
    if (packageOf(specifier) === OWN_PACKAGE) return { origin: "own", entry, root: dirname(entry), specifier }
    const manifest = findPackageJSON(pathToFileURL(entry))
    return { origin: "package", entry, root: manifest === undefined ? dirname(entry) : dirname(manifest), specifier }
  }
  const name = packageOf(specifier)
  if (name === OWN_PACKAGE) {
    const own = (await ownPlugins(projectDirectory)).map((id) => `${OWN_PACKAGE}/${id}`)
    throw new PluginProblem("Missing", `there is no plugin ${specifier}`, didYouMean(specifier, own, `plugins of ${OWN_PACKAGE}`))
  }
  throw new PluginProblem(
    "Missing",
    `there is no plugin ${specifier}: no module ${basename(specifier) === "plugin" ? specifier : `${specifier}/plugin`} can be found from ${projectDirectory}`,
    `npm install ${name}; a package with a plugin exports "./plugin", whose default export is definePlugin({ ... })`
  )
}
