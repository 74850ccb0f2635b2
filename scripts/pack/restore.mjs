/** Puts a package's folder back as it was before `prepack.mjs`. Safe to call twice, and after a crash. */
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const BACKUP = ".package.json.before-pack"
/** The repository's README goes into every package that has none of its own. */
export const README = "README.md"

const root = join(dirname(fileURLToPath(import.meta.url)), "../..")

const same = (a, b) => existsSync(a) && existsSync(b) && readFileSync(a).equals(readFileSync(b))

export const restore = (home) => {
  const backup = join(home, BACKUP)
  if (!existsSync(backup)) return
  renameSync(backup, join(home, "package.json"))
  rmSync(join(home, "dist"), { recursive: true, force: true })
  if (same(join(home, README), join(root, README))) rmSync(join(home, README))
}
