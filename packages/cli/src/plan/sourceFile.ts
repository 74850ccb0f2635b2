/** A New job form's pipeline text as a file that can be evaluated: in the home, with our own packages within reach of its imports. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import type { Home } from "@hypernode/engine/Home"

const packageDirectory = (name: string): string => {
  let directory = dirname(createRequire(import.meta.url).resolve(name === "engine" ? "@hypernode/engine" : "@hypernode/plugins/local"))
  while (!existsSync(join(directory, "package.json"))) directory = dirname(directory)
  return directory
}

export const sourceFile = (home: Home, source: string): string => {
  const directory = join(home.root, "forms")
  const scope = join(directory, "node_modules/@hypernode")
  mkdirSync(scope, { recursive: true, mode: 0o700 })
  for (const name of ["engine", "plugins"]) if (!existsSync(join(scope, name))) symlinkSync(packageDirectory(name), join(scope, name))
  if (!existsSync(join(directory, "package.json"))) writeFileSync(join(directory, "package.json"), `{"type":"module","private":true}\n`)
  const path = join(directory, `${createHash("sha256").update(source).digest("hex").slice(0, 16)}.ts`)
  if (!existsSync(path)) writeFileSync(path, source, { mode: 0o600 })
  return path
}
