/** Which files of a commit are pipelines: sources below the watched path that import `pipeline` from the engine, or the one file that is watched. */
import * as Effect from "effect/Effect"
import { leftOut } from "../git/exportTree.ts"
import type { Mirror, TreeFile } from "../git/Git.ts"
import type { GitError } from "../git/GitError.ts"

const MAX_BYTES = 1 << 20

/** In any broken file too, as long as this line stands. */
const IMPORT = /\bimport\s*(?!type\b)(?:[\w$]+\s*,\s*)?\{[^}]*\bpipeline\b[^}]*\}\s*from\s*["']@hypernode\/engine["']/

const isSource = (path: string): boolean => /\.[cm]?[jt]s$/.test(path) && !/\.d\.[cm]?ts$/.test(path) && !path.split("/").some((part) => part.startsWith("."))

export const pipelineFiles = (mirror: Mirror, tree: ReadonlyArray<TreeFile>, path: string): Effect.Effect<ReadonlyArray<string>, GitError> =>
  Effect.gen(function* () {
    const found: Array<string> = []
    for (const file of tree) {
      if (leftOut(file) !== undefined || !isSource(file.path)) continue
      if (file.path === path) found.push(file.path)
      else if ((path === "" || file.path.startsWith(`${path}/`)) && (file.size ?? 0) <= MAX_BYTES && IMPORT.test(yield* mirror.read(file))) found.push(file.path)
    }
    return found.toSorted()
  })
