/**
 * What a shim of pyenv goes by when it picks an interpreter (https://github.com/pyenv/pyenv#understanding-python-version-selection), as we
 * start it, without PYENV_VERSION: `.python-version` of the working directory or above, pyenv's own `version`, what is installed, the PATH.
 */
import { createHash } from "node:crypto"
import { existsSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"

const textOf = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** The same text as long as the choice is the same; undefined for what is no shim of pyenv. */
export const pyenvChoice = (shim: string): string | undefined => {
  const root = dirname(dirname(shim))
  if (basename(dirname(shim)) !== "shims" || !existsSync(join(root, "versions"))) return undefined
  const local: Array<string> = []
  for (let at = process.cwd(); ; at = dirname(at)) {
    local.push(textOf(join(at, ".python-version")))
    if (at === dirname(at)) break
  }
  const parts = [local, textOf(join(root, "version")), textOf(shim), statSync(join(root, "versions")).mtimeMs, process.env["PATH"] ?? ""]
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16)
}
