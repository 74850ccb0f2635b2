/** A New job form's pipeline text as a file that can be evaluated: in the home; its imports are found from the engine's own packages. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Home } from "@hypernode/engine/Home"

export const sourceFile = (home: Home, source: string): string => {
  const directory = join(home.root, "forms")
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (!existsSync(join(directory, "package.json"))) writeFileSync(join(directory, "package.json"), `{"type":"module","private":true}\n`)
  const path = join(directory, `${createHash("sha256").update(source).digest("hex").slice(0, 16)}.ts`)
  if (!existsSync(path)) writeFileSync(path, source, { mode: 0o600 })
  return path
}
