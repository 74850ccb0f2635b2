/** The built page: from the ui package. In the repository it is built the first time somebody serves, and again when its source changed. */
import { createHash } from "node:crypto"
import { execFile } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { promisify } from "node:util"

const sourceDigest = (directory: string): string => {
  const hash = createHash("sha256")
  const add = (path: string): void => {
    for (const name of readdirSync(path).toSorted()) {
      const file = join(path, name)
      if (statSync(file).isDirectory()) add(file)
      else hash.update(name).update(readFileSync(file))
    }
  }
  add(join(directory, "src"))
  for (const name of ["index.html", "vite.config.ts", "package.json"]) if (existsSync(join(directory, name))) hash.update(readFileSync(join(directory, name)))
  return hash.digest("hex")
}

const build = async (ui: string): Promise<void> => {
  const vite = join(dirname(createRequire(join(ui, "package.json")).resolve("vite/package.json")), "bin/vite.js")
  await promisify(execFile)(process.execPath, [vite, "build", "--logLevel", "error"], { cwd: ui, env: { PATH: process.env["PATH"] ?? "" } })
}

/** Undefined where there is no page and none can be built: the API then says so on `/`. */
export const uiDirectory = async (): Promise<string | undefined> => {
  let ui: string
  try {
    ui = dirname(createRequire(import.meta.url).resolve("@hypernode/ui/package.json"))
  } catch {
    return undefined
  }
  const dist = join(ui, "dist")
  if (existsSync(join(ui, "src"))) {
    const stamp = join(dist, ".source")
    const digest = sourceDigest(ui)
    if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== digest) {
      try {
        await build(ui)
        writeFileSync(stamp, digest)
      } catch (cause) {
        process.stderr.write(`the page could not be built: ${(cause as Error).message}\n`)
      }
    }
  }
  return existsSync(join(dist, "index.html")) ? dist : undefined
}
