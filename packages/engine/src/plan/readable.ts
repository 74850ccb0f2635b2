/** What the evaluation process may read: the project without its dot entries (`.env`, `.git`, `.hyper`), and installed packages. */
import { existsSync, readdirSync, realpathSync, statSync, type Dirent } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { dirname, join, sep } from "node:path"

const below = (path: string, directory: string): boolean => path === directory || path.startsWith(directory.endsWith(sep) ? directory : directory + sep)

const parents = (directory: string): ReadonlyArray<string> => {
  const above = dirname(directory)
  return above === directory ? [directory] : [directory, ...parents(above)]
}

const list = (directory: string): ReadonlyArray<Dirent> => {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch {
    return []
  }
}

const tooBroad = (directory: string): boolean => dirname(directory) === directory || directory === homedir() || directory === tmpdir() || directory === "/tmp"

/** The nearest directory at or above the pipeline file's that holds a package.json or .git; without one, the file's own. */
export const projectRoot = (file: string): string => {
  const own = dirname(file)
  const root = parents(own).find((directory) => !tooBroad(directory) && (existsSync(join(directory, "package.json")) || existsSync(join(directory, ".git"))))
  return root ?? own
}

/** `node_modules` that Node would search from `directory`, and the real places of packages linked into them (workspaces). */
const modulesFrom = (directory: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const parent of parents(directory)) {
    const modules = join(parent, "node_modules")
    if (!existsSync(modules)) continue
    found.push(modules)
    const entries = list(modules).flatMap((entry) =>
      entry.isDirectory() && entry.name.startsWith("@") ? list(join(modules, entry.name)).map((inner) => ({ path: join(modules, entry.name, inner.name), entry: inner })) : [{ path: join(modules, entry.name), entry }]
    )
    for (const { path, entry } of entries) {
      if (!entry.isSymbolicLink()) continue
      try {
        found.push(realpathSync(path))
      } catch {
        // a dangling link: nothing to read
      }
    }
  }
  return found
}

/** Absolute real paths. A symbolic link at the top of the project that leads out of it is left out; deeper ones are not looked for. */
export const readablePaths = (file: string, engine: string): ReadonlyArray<string> => {
  const root = projectRoot(file)
  const codeOnly = tooBroad(root)
  const own = list(root)
    .filter((entry) => !entry.name.startsWith(".") && (!codeOnly || (entry.isFile() && /\.(m?[jt]s|json)$/.test(entry.name))))
    .flatMap((entry) => {
      const path = join(root, entry.name)
      if (!entry.isSymbolicLink()) return [path]
      try {
        const real = realpathSync(path)
        return below(real, root) && statSync(real) !== undefined ? [path, real] : []
      } catch {
        return []
      }
    })
  const all = [...new Set([...own, file, engine, ...modulesFrom(root), ...modulesFrom(engine)])]
  return all.filter((path) => !all.some((other) => other !== path && below(path, other)))
}
